"""A model's tree of modules copied, its weights shared: what is traced and run in place of the user's own modules.

A forward pass may write where it likes: to attributes, lists and dictionaries of a module, of the objects it holds, of its hooks and of
the functions it closes over. All that is copied here, so that what is written lands in the copy: threads do not meet, and nothing of the
user's changes. Parameters are the model's own; buffers are copies, since a forward pass may update them.
"""

from __future__ import annotations

import copy
import functools
import random
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType
from typing import Any, cast
from weakref import CallableProxyType, ProxyType, proxy, ref

import numpy as np
import torch
from torch import Tensor, nn

CONTAINERS = (list, dict, set, tuple, frozenset, OrderedDict, defaultdict, deque)
HOOKS = ("_forward_hooks", "_forward_pre_hooks")
BACKWARD_HOOKS = ("_backward_hooks", "_backward_pre_hooks")
ATOMS = frozenset({int, float, bool, complex, str, bytes, type(None), type, torch.dtype, torch.device, torch.Size, BuiltinFunctionType})
"""Types of what holds nothing."""
RECORDS = (list, dict, set, deque, defaultdict, OrderedDict)
"""Containers that can be written to."""
GENERATORS = (torch.Generator, random.Random, np.random.Generator, np.random.RandomState)
MOST_OBJECTS = 20_000
"""Objects copied at most. What a model may hold beyond that (a trainer, a data set) is shared."""
DEEPEST = 60
"""Nesting of containers that is looked into."""


def copy_structure(model: Callable[..., Any], *, users_hooks: bool = True, own_weights: bool = False, own_generators: bool = True) -> Any:
    """A model with modules and containers of its own.

    Args:
        model: a module, whose copy is in eval mode; or a callable, of which the modules are copied that it is bound to or closes over, with
            the training flags they have. What else it writes to is its own affair: it may count or keep its calls.
        users_hooks: whether hooks come along that are not torch's own, such as those of ``weight_norm`` and of pruning.
        own_weights: whether parameters are copied, too; for models that write to them.
        own_generators: whether generators of random numbers are copied, so that the model's own do not advance.
    """
    evaluating = isinstance(model, nn.Module)
    copier = _StructureCopier(users_hooks=users_hooks, own_weights=own_weights, own_generators=own_generators, evaluating=evaluating)
    return copier.value(model)


def has_users_hooks(model: nn.Module) -> bool:
    """Whether someone has registered a forward hook that is not torch's."""
    hooks = (hook for module in model.modules() for name in HOOKS for hook in vars(module)[name].values())
    return any(not _is_of_torch(hook) for hook in hooks)


@dataclass
class _StructureCopier:
    """One copy of everything that hangs together.

    Attributes:
        made: copies by the identity of what they are copies of.
        kept: what was copied, so that no identity is used twice.
        within: how many modules are being copied, one inside the other.
        namespaces: copies of the globals of functions, in which names that hold something copied are replaced.
    """

    users_hooks: bool = True
    own_weights: bool = False
    own_generators: bool = True
    evaluating: bool = True

    def __post_init__(self) -> None:
        self.made: dict[int, Any] = {}
        self.kept: list[Any] = []
        self.namespaces: dict[int, dict[str, Any]] = {}
        self.depth = self.within = 0
        self.copiers: dict[type, Callable[[Any], Any]] = {
            **dict.fromkeys(CONTAINERS, self._container),
            FunctionType: self._function,
            MethodType: self._method,
            functools.partial: self._partial,
            ref: self._reference,
            **dict.fromkeys((ProxyType, CallableProxyType), self._proxy),
        }

    def value(self, given: Any) -> Any:
        """The copy of anything; itself where it cannot be written to, or cannot be copied."""
        if type(given) in ATOMS:
            return given
        if id(given) in self.made:
            return self.made[id(given)]
        copier = self._copier_of(given)
        if copier is None or not self._may_lead_to_modules(given) or self.depth > DEEPEST or len(self.kept) > MOST_OBJECTS:
            return given
        self.depth += 1
        try:
            return copier(given)
        finally:
            self.depth -= 1

    def _copier_of(self, given: Any) -> Callable[[Any], Any] | None:
        if (found := self.copiers.get(type(given))) is not None:
            return found
        if isinstance(given, nn.Module):
            return self._scripted if isinstance(given, torch.jit.ScriptModule) else self._module
        if isinstance(given, Tensor):
            return None if nn.parameter.is_lazy(given) or not (self.own_weights or given.is_inference()) else self._tensor
        if isinstance(given, GENERATORS):
            return self._generator if self.own_generators else None
        return self._object if _is_plain_object(given) else None

    def _may_lead_to_modules(self, given: Any) -> bool:
        """Whether something is copied: all that modules hold, and of what lies outside of them, functions and what holds a module."""
        if self.within or isinstance(given, (nn.Module, FunctionType, MethodType, functools.partial)):
            return True
        return any(isinstance(held, nn.Module) for held in vars(given).values()) if _is_plain_object(given) else False

    def _generator(self, generator: Any) -> Any:
        made = generator.clone_state() if isinstance(generator, torch.Generator) else copy.deepcopy(generator)
        return self._keep(generator, made)

    def _keep(self, given: Any, made: Any) -> Any:
        self.made[id(given)] = made
        self.kept.append(given)
        return made

    # ---- modules --------------------------------------------------------------------------------------------------------------------

    def _module(self, module: nn.Module) -> nn.Module:
        if "_orig_mod" in vars(module)["_modules"]:  # what torch.compile makes calls the module it was made of
            return cast(nn.Module, self._keep(module, self.value(vars(module)["_modules"]["_orig_mod"])))
        made = self._keep(module, object.__new__(type(module)))
        namespace = made.__dict__
        self.within += 1
        for name, held in [*_class_containers(module), *vars(module).items()]:
            namespace[name] = self._attribute(name, held)
        for name, method in _methods_that_record(cast(Any, type(module))):
            namespace.setdefault(name, MethodType(self.value(method), made))
        self.within -= 1
        if self.evaluating:
            namespace["training"] = False
        return cast(nn.Module, made)

    def _scripted(self, module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
        """Compiled modules are copied whole: what they hold lies beyond Python."""
        made = self._keep(module, copy.deepcopy(module))
        return cast(torch.jit.ScriptModule, made.eval() if self.evaluating else made)

    def _attribute(self, name: str, held: Any) -> Any:
        if name == "_parameters":
            return type(held)((key, self.value(tensor)) for key, tensor in held.items())
        if name == "_buffers":
            return type(held)((key, self._buffer(tensor)) for key, tensor in held.items())
        if name == "_modules":
            return type(held)((key, self.value(module)) for key, module in held.items())
        if name in BACKWARD_HOOKS:
            return type(held)()
        if name in HOOKS:
            return type(held)((key, self.value(hook)) for key, hook in held.items() if self.users_hooks or _is_of_torch(hook))
        return self.value(held)

    def _buffer(self, buffer: Tensor | None) -> Tensor | None:
        if buffer is None or id(buffer) in self.made:
            return cast("Tensor | None", self.made.get(id(buffer)))
        return buffer if nn.parameter.is_lazy(buffer) else self._tensor(buffer)

    def _tensor(self, tensor: Tensor) -> Tensor:
        made = tensor.detach().clone()
        if isinstance(tensor, nn.Parameter):
            made = nn.Parameter(made, requires_grad=tensor.requires_grad)
        self._keep(tensor, made)
        return made

    # ---- what modules hold ----------------------------------------------------------------------------------------------------------

    def _container(self, held: Any) -> Any:
        if not held:
            return held if isinstance(held, (tuple, frozenset)) else self._keep(held, held.copy())
        if isinstance(held, (tuple, frozenset)):
            items = [self.value(item) for item in held]
            same = all(new is old for new, old in zip(items, held, strict=True))
            return held if same else self._keep(held, type(held)(items))
        made = self._keep(held, held.copy())
        if isinstance(held, dict):
            for key, item in held.items():
                made[key] = self.value(item)
        else:
            made.clear()
            (made.update if isinstance(held, set) else made.extend)(self.value(item) for item in held)
        return made

    def _object(self, held: Any) -> Any:
        made = self._keep(held, object.__new__(type(held)))
        for name, item in vars(held).items():
            made.__dict__[name] = self.value(item)
        return made

    def _method(self, method: MethodType) -> Any:
        return MethodType(self.value(method.__func__), self.value(method.__self__))

    def _partial(self, held: functools.partial[Any]) -> Any:
        named = {name: self.value(item) for name, item in held.keywords.items()}
        return functools.partial(self.value(held.func), *map(self.value, held.args), **named)

    def _reference(self, held: ref[Any]) -> Any:
        target = held()
        return held if target is None or self.value(target) is target else ref(self.value(target))

    def _proxy(self, held: Any) -> Any:
        """A weak proxy, which passes for its target: one of the target's copy. A trainer of Lightning has one of its module."""
        try:
            target = held.__repr__.__self__
        except ReferenceError:
            return held
        made = self.value(target)
        return held if made is target else proxy(made)

    def _function(self, function: FunctionType) -> Any:
        """A function over copies of what it closes over, and of what it finds in its module that it may write to."""
        if _is_of_torch(function):
            return function
        names = sorted(_global_names(function.__code__))
        replaced = [name for name in names if self._is_writable(function.__globals__.get(name), function)]
        if not function.__closure__ and not replaced:
            return function
        namespace = function.__globals__
        if replaced:
            namespace = self.namespaces.setdefault(id(namespace), dict(namespace))
        cells = tuple(CellType() for _ in function.__closure__ or ())
        made = FunctionType(function.__code__, namespace, function.__name__, function.__defaults__, cells)
        made.__kwdefaults__, made.__qualname__, made.__module__ = function.__kwdefaults__, function.__qualname__, function.__module__
        made.__dict__.update(function.__dict__)
        self._keep(function, made)
        for cell, original in zip(cells, function.__closure__ or (), strict=True):
            _copy_cell(cell, original, self.value)
        for name in replaced:
            namespace[name] = self.value(function.__globals__[name])
        return made

    def _is_writable(self, held: Any, function: FunctionType) -> bool:
        """Whether a global is something that may be written to, or leads to it."""
        if isinstance(held, nn.Module) or (self.within and type(held) in RECORDS):
            return True
        if isinstance(held, FunctionType):
            return held.__globals__ is function.__globals__ and held is not function
        return _is_plain_object(held) and type(held).__module__ == function.__module__ and self._may_lead_to_modules(held)


def _copy_cell(cell: CellType, original: CellType, copied: Callable[[Any], Any]) -> None:
    try:
        cell.cell_contents = copied(original.cell_contents)
    except ValueError:  # it has not been assigned yet
        return


def _class_containers(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Containers that a user's class holds for all its instances, the nearest class last."""
    for kind in reversed(type(module).__mro__):
        if not kind.__module__.startswith("torch.") and kind is not object:
            yield from ((name, held) for name, held in vars(kind).items() if type(held) in (list, dict, set) and not name.startswith("__"))


@functools.lru_cache(maxsize=1024)
def _methods_that_record(kind: type) -> tuple[tuple[str, FunctionType], ...]:
    """Methods of a user's class that refer to a list or the like of the Python module it was written in."""
    found: dict[str, FunctionType] = {}
    for owner in kind.__mro__:
        if owner.__module__.startswith("torch.") or owner is object:
            continue
        for name, method in vars(owner).items():
            if isinstance(method, FunctionType) and not name.startswith("__"):
                held = (type(method.__globals__.get(name)) for name in _global_names(method.__code__))
                if any(kind in RECORDS for kind in held):
                    found.setdefault(name, method)
    return tuple(found.items())


def _is_plain_object(held: Any) -> bool:
    """Whether a new instance with the same attributes is the same thing: a class in Python without ways of its own to be made or copied."""
    kind = type(held)
    if not hasattr(held, "__dict__") or isinstance(held, (type, nn.Module)) or callable(getattr(held, "__deepcopy__", None)):
        return False
    if any(kind.__dict__.get("__slots__") for kind in type(held).__mro__):
        return False
    ways: Any = ("__new__", "__reduce__", "__reduce_ex__", "__getstate__")
    return all(getattr(kind, way, None) is getattr(object, way, None) for way in ways) and kind.__module__ != "builtins"


def _is_of_torch(function: Any) -> bool:
    """Whether a function, or the object that is called, was written by torch."""
    home = function if isinstance(function, FunctionType) else getattr(function, "__func__", type(function))
    return str(getattr(home, "__module__", "")).split(".")[0] == "torch"


def _global_names(code: CodeType) -> set[str]:
    """Names a function may look up in its module, those of functions inside it included."""
    return set(code.co_names).union(*(_global_names(inner) for inner in code.co_consts if isinstance(inner, CodeType)))
