// Sets everything up, when all of the page is there.
setUpFilter();
document.querySelectorAll("a.download").forEach(setUpDownload);
if (window.Plotly) {
  document.querySelectorAll(".map").forEach(setUpMap);
  document.querySelectorAll(".drawings").forEach(setUpDrawings);
  document.querySelectorAll(".figures").forEach(setUpRuns);
}
