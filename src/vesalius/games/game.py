"""The one way to ask *what if some players are absent*.

A game is a function of coalitions. It runs the model in batches that fit into memory, remembers every coalition it was asked for, and
counts what it cost.

Axes: N coalitions, P players.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.core.arguments import noun, read_argument
from vesalius.core.default_players import default_players
from vesalius.core.entry import as_caller, verb
from vesalius.core.errors import InvalidInput, MemoryExhausted, TooManyPlayers, WrongType
from vesalius.core.names import name_list
from vesalius.core.numbers import POSITIVE_COUNT, flag, whole_number
from vesalius.core.out_of_memory import is_out_of_memory
from vesalius.core.players import Players
from vesalius.core.rows import real_values, to_tensor
from vesalius.core.version import VERSION
from vesalius.games.absence import Baseline, describe_absence
from vesalius.games.cost import count_seconds
from vesalius.games.memory import free_cached_memory
from vesalius.games.moebius import MAX_PLAYERS
from vesalius.games.network_game import ask_about_sample, characteristic_of_links, coalition_functions
from vesalius.trace.network import Inputs, Network
from vesalius.trace.question import Question
from vesalius.trace.receive import receive, resolve_classes, with_class_names
from vesalius.trace.target import Target
from vesalius.trace.text_questions import TextPlayers, TextWords, as_text_question, require_players

LONGEST_KEY = 256  # bytes by which a coalition is remembered as it is; a hash takes ten times as long, and is short
HASH_BYTES = 16
BLOCK = 1 << 14  # coalitions written out at once, where all are asked
ValueFunction = Callable[[Bool[Tensor, "N P"]], Float[Tensor, " N"]]


@noun("make one: vesalius.Game.of(function, 5), vesalius.Game.on(model, x)")
class Game:
    """v(S) for any coalition S.

    A game can be copied and pickled, values that it remembers included: one on a network asks the network anew where it arrives, and one on
    a function travels as the function does (pickle refuses a lambda, cloudpickle takes it).

    Args:
        value: the characteristic function: presence [N P] to values [N], in any unit.
        players: who plays.
        batch: coalitions evaluated at once; halved, for good, whenever memory runs out.
        keep: remember values, so that a coalition is evaluated once.
        runs_torch: whether the function is made of PyTorch's operations alone, so that they can be counted.
        provenance: what is needed to make the same values again, for allocations made of this game.

    ``explained`` holds the explained tensors of the sample, where the game is on a network and about one.
    """

    def __init__(
        self,
        value: ValueFunction,
        players: Players,
        *,
        batch: int = 1024,
        keep: bool = True,
        runs_torch: bool = False,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        _require_function(value)
        keep = flag("keep", keep)
        self._runs_torch = flag("runs_torch", runs_torch)
        self.players = read_argument("players", players, "Players")
        self.batch = whole_number("batch", batch, POSITIVE_COUNT)
        self.evaluations = 0
        self.provenance = dict(provenance or {})
        self.explained: tuple[Tensor, ...] = ()
        self._value: ValueFunction | None = value
        self._asked: tuple[Network, Inputs, Target, Baseline, str | Sequence[str] | None, bool] | None = None
        self._known: dict[bytes, float] | None = {} if keep else None
        self._nominal: float | None = None

    @classmethod
    @verb
    def of(cls, value: ValueFunction, players: int | Players, *, batch: int = 1024) -> Game:
        """A game on any callable, for instance ``Game.of(lambda masks: masks.double().prod(1), 5)``.

        Args:
            value: the characteristic function: presence [N P] to values [N].
            players: who plays, or how many: ``player 0``, ``player 1``, ...
            batch: coalitions evaluated at once.
        """
        if not isinstance(players, Players):
            players = Players.plain(players)
        _require_function(value)
        return cls(partial(as_caller, value), players, batch=batch)

    @classmethod
    @verb
    def on(  # noqa: PLR0913 - a verb that users call
        cls,
        model: Any,
        x: Inputs,
        players: TextPlayers = None,
        *,
        target: Target = None,
        baseline: Baseline = None,
        at: str | Sequence[str] | None = None,
        direct: bool = False,
        names: Sequence[str] = (),
        classes: Sequence[str] = (),
        tokenizer: Any = None,
    ) -> Game:
        """The game of one sample on a network.

        Args:
            model: what is played on: a Network, or any model that :func:`vesalius.trace` takes.
            x: one sample in any form, with or without its batch axis.
            players: who plays; units, links and parts of the inside (heads, edges) bring their places with them. By
                default columns of a table, patches of an image, positions of a sequence.
            target: what is explained, see :func:`vesalius.trace.question.ask`; or the name of a class.
            baseline: what stands in for absent players; zero by default.
            at: where the players live, if not in the input; one value or several.
            direct: where one value of ``at`` is computed from another (heads of two layers), what is absent is overwritten where it
                stands and everything behind it is computed anew; True: direct effects only, the later value stays as it is.
            names: of the players; by default those of the columns, where the data has them.
            classes: names of the classes in the output's order.
            tokenizer: then ``x`` is a text, and target, baseline and players may be in its words, see :func:`vesalius.attribute`.

        Raises:
            InvalidInput: more than one sample, players that do not fit.
        """
        words = TextWords(target=target, baseline=baseline, players=players, at=at, classes=classes)
        if (posed := as_text_question(model, x, tokenizer, words)) is not None:
            model, x, players, target, baseline, at = posed.arguments
        players = require_players(players)
        received = receive(model, x)
        known = name_list("classes", classes) or received.classes
        target = resolve_classes(target, known, received.outputs)
        question, absence = ask_about_sample(received.network, received.x, players, target=target, baseline=baseline, at=at, direct=direct)
        players = (players or default_players([tensor[0] for tensor in question.present])).named(
            names or received.columns(question.at), strict=bool(names)
        )
        links = players.kind == "links"
        masked = characteristic_of_links(question, players) if links else coalition_functions(question, absence)(players, 0)
        facts = with_class_names(question_provenance(question, describe_absence(absence, question)), known, received.outputs)
        game = cls(masked.value, players, batch=masked.batch, runs_torch=masked.runs_torch, provenance=facts)
        game.explained = () if links else tuple(here[0].detach().clone() for here in question.present)
        game._asked = (received.network, received.x, target, baseline if question.gated else absence, at, direct)
        return game

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | ({} if self._asked is None else {"_value": None})

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self._asked is not None:
            network, x, target, absence, at, direct = self._asked
            self._value = Game.on(network, x, self.players, target=target, baseline=absence, at=at, direct=direct)._value

    @verb
    def __call__(self, masks: Tensor) -> Float[Tensor, " N"]:
        """Values of coalitions, as float64 on the CPU.

        Args:
            masks: bool [N P], True where a player is present.

        Raises:
            InvalidInput: wrong number of players, or a value that is NaN or infinite.
            MemoryExhausted: not even one coalition fits into memory.
        """
        masks = to_tensor(masks)
        if masks.ndim != 2 or masks.shape[1] != self.players.n or masks.dtype != torch.bool:
            raise InvalidInput(f"coalitions are bool [N, {self.players.n}], not {masks.dtype} {tuple(masks.shape)}")
        masks = masks.cpu()
        if self._known is None:
            return self._run(masks)
        keys = coalition_keys(masks)
        fresh = {key: row for row, key in enumerate(keys) if key not in self._known}
        if len(fresh) == len(keys):
            values = self._run(masks)
            self._known.update(zip(keys, values.tolist(), strict=True))
            return values
        if fresh:
            found = self._run(masks[list(fresh.values())]).tolist()
            self._known.update(zip(fresh, found, strict=True))
        return torch.tensor([self._known[key] for key in keys], dtype=torch.float64)

    @verb
    def table(self) -> Float[Tensor, " S"]:
        """Values of all 2**n coalitions in index order (bit i of an index: is player i present?), as float64 on the CPU.

        Coalitions are written out in blocks, and are neither looked up nor remembered: a table is its own memory.

        Raises:
            TooManyPlayers: above ``moebius.MAX_PLAYERS``.
            InvalidInput, MemoryExhausted: as a call.
        """
        n = self.players.n
        if n > MAX_PLAYERS:
            raise TooManyPlayers(n, MAX_PLAYERS, hint="group players, or ask for some coalitions only")
        values = torch.empty(1 << n, dtype=torch.float64)
        for block in torch.arange(1 << n).split(BLOCK):
            masks = (block[:, None] >> torch.arange(n) & 1).bool()
            values[block] = self._run(masks)
        return values

    @verb
    def nominal_seconds(self) -> float | None:
        """What an evaluation takes on a nominal processor, from the operations counted in one; ``None`` where they cannot be counted.

        A count is the same on every machine and in every run, so what is chosen by it does not change what is computed.
        """
        if not self._runs_torch or self._value is None:
            return None
        if self._nominal is None:
            self._nominal = count_seconds(self._value, self.players.n)
        return self._nominal

    def to_shapiq(self) -> Any:
        """This game as a ``shapiq.Game`` with the same values, not centred, for shapiq's estimators and indices.

        Every call comes back here, so batches, memory and the count of evaluations stay this game's.

        Returns:
            An instance of a subclass of ``shapiq.Game``, with this game's player names.

        Raises:
            ModuleNotFoundError: shapiq, an optional extra, is not installed: ``pip install shapiq``.
        """
        import shapiq

        class Vesalius(shapiq.Game):
            """A vesalius game, as seen by shapiq."""

            def value_function(_, coalitions: Any) -> Any:
                return self(to_tensor(coalitions).bool()).numpy()

        return Vesalius(self.players.n, normalize=False, player_names=list(self.players.names))

    def _run(self, masks: Bool[Tensor, "N P"]) -> Float[Tensor, " N"]:
        values: list[Tensor] = []
        done = 0
        while done < len(masks):
            part = masks[done : done + self.batch]
            try:
                values.append(self._evaluate_finite(part))
            except (RuntimeError, MemoryError) as error:
                self._shrink(error, len(part))
                continue
            done += len(part)
            self.evaluations += len(part)
        return torch.cat(values) if values else torch.empty(0, dtype=torch.float64)

    def _evaluate_finite(self, masks: Bool[Tensor, "N P"]) -> Float[Tensor, " N"]:
        assert self._value is not None
        values = real_values(self._value(masks), len(masks), "the game's function")
        if not values.isfinite().all():
            bad = int((~values.isfinite()).nonzero()[0])
            raise InvalidInput(f"the output is {float(values[bad])} for a coalition of {int(masks[bad].sum())} of {self.players.n} players")
        return values

    def _shrink(self, error: RuntimeError | MemoryError, tried: int) -> None:
        """Halve the batch after memory ran out; let any other error through."""
        if not is_out_of_memory(error):
            raise error
        if tried == 1:
            raise MemoryExhausted(
                "one coalition alone does not fit into memory; use a smaller input, a smaller background or another device"
            ) from error
        free_cached_memory()
        self.batch = max(1, tried // 2)


def coalition_keys(masks: Bool[Tensor, "N P"]) -> list[bytes]:
    """What coalitions are remembered by: a bit per player, or a hash where that is longer."""
    packed = np.packbits(masks.numpy(), axis=1)
    width = packed.shape[1]
    if width <= LONGEST_KEY:
        every = packed.tobytes()
        return [every[start : start + width] for start in range(0, len(every), width)]
    return [hashlib.blake2b(row.tobytes(), digest_size=HASH_BYTES).digest() for row in packed]


def sample_targets(question: Question) -> list[str]:
    """What is explained of each sample, in words."""
    places = question.pick.positions
    if places is None:
        return [question.target] * question.batch
    return [f"class {place[0]}" if len(place) == 1 else f"output {tuple(place)}" for place in places.tolist()]


def question_provenance(question: Question, baseline: str) -> Mapping[str, Any]:
    """What is needed to ask the same again, for the provenance of what is made of the answers."""
    return {
        "model": question.network.name,
        "digest": question.network.digest(),
        "target": question.target,
        "at": list(question.at),
        **({"direct": True} if question.direct else {}),
        "baseline": baseline,
        "versions": {"vesalius": VERSION, "torch": torch.__version__, "python": platform.python_version()},
    }


def _require_function(value: object) -> None:
    if not callable(value):
        raise WrongType(f"a game is a function of coalitions, bool [N, players] -> [N], not {type(value).__name__} {value!r}")
