"""Names of decoders: what they say, that they survive JSON, and what is said of others."""

import json

import pytest
from hypothesis import given, settings, strategies as st

from recsim_drpo.simulator.decoder_names import DecoderName, parse_decoder


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exact", DecoderName("exact")),
        ("auto", DecoderName("auto", recall=0.99)),
        ("auto?recall=0.9", DecoderName("auto", recall=0.9)),
        ("faiss:Flat", DecoderName("faiss", "Flat")),
        ("faiss:IVF4096,PQ32,RFlat", DecoderName("faiss", "IVF4096,PQ32,RFlat")),
        (
            "faiss:IVF64,PQ8,RFlat?nprobe=4,k_factor_rf=16",
            DecoderName("faiss", "IVF64,PQ8,RFlat", {"nprobe": 4.0, "k_factor_rf": 16.0}),
        ),
        ("faiss:HNSW32?recall=1", DecoderName("faiss", "HNSW32", recall=1.0)),
    ],
)
def test_a_name_is_read_and_said_again(text, expected):
    assert parse_decoder(text) == expected
    assert str(expected) == text
    assert parse_decoder(json.loads(json.dumps(str(expected)))) == expected


@settings(max_examples=50, deadline=None)
@given(
    what=st.sampled_from(["Flat", "IVF4096,Flat", "HNSW32", "OPQ16_64,IVF256,PQ16x4fs,RFlat"]),
    parameters=st.dictionaries(
        st.sampled_from(["nprobe", "efSearch", "k_factor_rf"]), st.integers(1, 10**5).map(float)
    ),
)
def test_every_name_survives(what, parameters):
    name = DecoderName("faiss", what, parameters)
    assert parse_decoder(str(name)) == name


def test_a_folder_is_named_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(parse_decoder("index:out/index")) == f"index:{tmp_path}/out/index"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("exat", r"Unknown decoder 'exat'. Did you mean 'exact'\? Known: exact, auto, faiss:FAC"),
        ("IVF64,Flat", r"Unknown decoder .* Did you mean 'faiss:IVF64,Flat'\?"),
        ("fais:Flat", r"Unknown decoder .* Did you mean 'faiss:FACTORY'\?"),
        ("faiss:", "Unknown decoder 'faiss:'"),
        ("", "Unknown decoder ''"),
        (7, "decoder=7 is no text"),
        ("exact?nprobe=3", "exact search has no parameters"),
        ("auto?nprobe=3", "the recall that is wanted chooses nprobe; leave"),
        ("faiss:Flat?", "'' is not of the form NAME=NUMBER"),
        ("faiss:Flat?nprobe", "'nprobe' is not of the form NAME=NUMBER"),
        ("faiss:Flat?nprobe=many", "'nprobe=many' is not of the form NAME=NUMBER"),
        ("faiss:Flat?=3", "'=3' is not of the form"),
        ("faiss:IVF4,Flat?nprobe=1,nprobe=2", "names 'nprobe' twice"),
        ("auto?recall=0", r"recall of decoder 'auto\?recall=0'=0.0 is not a number in \(0, 1\]"),
        ("auto?recall=nan", "=nan is not a number"),
        ("faiss:IVF4,Flat?recall=0.9,nprobe=2", "the recall that is wanted chooses nprobe; leave"),
    ],
)
def test_what_is_no_name_is_said_in_one_line(name, message):
    with pytest.raises(ValueError, match=message) as error:
        parse_decoder(name)
    assert "\n" not in str(error.value)
