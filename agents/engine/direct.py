"""Calls of compiled programs that are kept on disk and run without torch's compiler.

Importing the compiler takes a second or two. What it makes of a function is a Python function that
calls machine code and torch's own operations in order: its text, and where the machine code lies,
are enough to run it.
"""

from __future__ import annotations

import ast
import builtins
import dis
import importlib.util
import math
import os
import textwrap
from collections.abc import Callable, Sequence
from importlib.abc import Loader
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

_ADDRESS = "_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR"
"""The environment variable by which machine code learns where torch tells a tensor's address."""


def text_of(module: ModuleType) -> str:
    """A module's text that :func:`load` runs in place of one that torch's compiler generated.

    Args:
        module: has a class ``Runner`` with a method ``call``, of a list of tensors to tensors.

    Raises:
        ValueError: the method needs more than torch and machine code.
    """
    text = _method(Path(str(module.__file__)).read_text(encoding="utf-8"), "call")
    known = _torch_names().keys() | vars(builtins).keys()
    kernels = {}
    for name in sorted(_globals_of(compile(text, "call", "exec")) - known):
        library = getattr(getattr(module, name, None), "__self__", None)
        file = getattr(library, "__file__", None)
        if file is None:
            raise ValueError(f"The compiled program needs {name!r}, which is no machine code.")
        kernels[name] = (file, Path(file).stat().st_size)
    return f"KERNELS = {kernels!r}\n\n\n{text}"


def load(path: Path) -> Callable[..., Sequence[Tensor]]:
    """The function, of tensors to tensors, of a file with a text of :func:`text_of`.

    Like the machine code this is code, not data: it is run if this user has written it.

    Raises:
        OSError: there is no such file, or no machine code any more.
        ValueError: it is another user's, or its machine code is not what it was.
    """
    _check_owner(path)
    loader = SourceFileLoader("_compiled", str(path))
    module = _module("_compiled", path, loader)
    vars(module).update(_torch_names())
    loader.exec_module(module)
    for name, (file, size) in module.KERNELS.items():
        setattr(module, name, _kernel(Path(file), size))
    call: Callable[[None, list[Tensor]], Sequence[Tensor]] = module.call
    return lambda *tensors: call(None, list(tensors))


def _method(source: str, name: str) -> str:
    """The text of a method of the class ``Runner`` of a module."""
    (runner,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == "Runner"
    )
    (method,) = (
        node for node in runner.body if isinstance(node, ast.FunctionDef) and node.name == name
    )
    lines = source.splitlines(keepends=True)[method.lineno - 1 : method.end_lineno]
    return textwrap.dedent("".join(lines))


def _globals_of(code: CodeType) -> set[str]:
    """Names that the functions of a module read from it."""
    functions = [held for held in code.co_consts if isinstance(held, CodeType)]
    return {
        str(step.argval)
        for function in functions
        for step in dis.get_instructions(function)
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    } | {name for function in functions for name in _globals_of(function)}


def _torch_names() -> dict[str, Any]:
    """What generated functions find in their module besides machine code."""
    guards: Any = torch._C._dynamo.guards
    products = (torch.bmm, torch.baddbmm, torch.mm, torch.addmm)
    return {
        "torch": torch,
        "math": math,
        "inf": math.inf,
        "nan": math.nan,
        "aten": torch.ops.aten,
        "device": torch.device,
        "empty_strided": torch.empty_strided,
        "extern_kernels": SimpleNamespace(**{product.__name__: product for product in products}),
        "assert_size_stride": guards.assert_size_stride,
        "assert_alignment": guards.assert_alignment,
        "empty_strided_cpu": guards._empty_strided_cpu,
        "reinterpret_tensor": guards._reinterpret_tensor,
    }


def _kernel(file: Path, size: int) -> Callable[..., None]:
    """The function in a shared library that torch's compiler built."""
    _check_owner(file)
    if file.stat().st_size != size:
        raise ValueError(f"{file} has another size than when it was compiled.")
    guards: Any = torch._C._dynamo.guards
    os.environ[_ADDRESS] = str(guards._torchinductor_pyobject_tensor_data_ptr)
    loader = ExtensionFileLoader("kernel", str(file))
    module = _module("kernel", file, loader)
    loader.exec_module(module)
    kernel: Callable[..., None] = module.kernel
    return kernel


def _module(name: str, file: Path, loader: Loader) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file, loader=loader)
    assert spec is not None
    return importlib.util.module_from_spec(spec)


def _check_owner(file: Path) -> None:
    """Raise ``ValueError`` for a file that another user could have made up."""
    if hasattr(os, "getuid") and file.stat().st_uid != os.getuid():
        raise ValueError(f"{file} belongs to another user.")
