"""Autoencoders: their shape, how they are trained, and what stands in their way."""

import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.models import Autoencoder, AutoencoderSparsity, AutoencoderTraining, fit


def rows(count=400, width=12, seed=0):
    """Rows in [0, 1] of rank 3."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(count, 3, generator=generator) @ torch.randn(3, width, generator=torch.Generator().manual_seed(9))).sigmoid()


QUICK = AutoencoderTraining(epochs=8, rate=1e-2, batch=32)


def test_the_decoder_mirrors_the_encoder():
    model = Autoencoder([12, 8, 3])
    shapes = [tuple(layer.weight.shape) for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert shapes == [(8, 12), (3, 8), (8, 3), (12, 8)]
    assert isinstance(model.decoder[-1], nn.Sigmoid)
    assert torch.equal(model(rows()), model.decode(model.encode(rows())))


def test_weights_come_from_their_seed_alone():
    before = torch.random.get_rng_state()
    first, same, other = Autoencoder([12, 3], seed=1), Autoencoder([12, 3], seed=1), Autoencoder([12, 3], seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.encoder[0].weight, same.encoder[0].weight)
    assert not torch.equal(first.encoder[0].weight, other.encoder[0].weight)


@pytest.mark.slow
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("sparse", [AutoencoderSparsity(), AutoencoderSparsity(k=2), AutoencoderSparsity(dropout=0.2)])
def test_every_kind_can_be_traced(tied, sparse):
    model = Autoencoder([12, 8, 3], tied=tied, sparse=sparse)
    network = vs.trace(model, rows(4))
    assert not network.opaque
    assert len(network.layers) == 4
    torch.testing.assert_close(network(rows(4)), model.eval()(rows(4)))


def test_tied_weights_are_one_parameter_and_stay_one():
    model = fit(Autoencoder([12, 3], tied=True), rows(), training=QUICK).model
    assert model.decoder[0].weight is model.encoder[0].weight
    assert sum(parameter.numel() for parameter in model.parameters()) == 36 + 3 + 12


def test_k_latents_are_kept():
    latents = Autoencoder([12, 6], sparse=AutoencoderSparsity(k=2), activation="identity").encode(rows())
    assert ((latents != 0).sum(1) == 2).all()


def test_training_learns_and_leaves_the_model_as_it_was():
    model, x = Autoencoder([12, 8, 3], activation="tanh"), rows()
    before, state = model.encoder[0].weight.clone(), torch.random.get_rng_state()
    done = fit(model, x, training=AutoencoderTraining(epochs=40, rate=1e-2, batch=32))
    assert torch.equal(model.encoder[0].weight, before)
    assert torch.equal(torch.random.get_rng_state(), state)
    error = float((done.model(x) - x).detach().square().mean())
    assert error < 0.3 * float((x - x.mean(0)).square().mean())
    assert not done.model.training


@pytest.mark.parametrize("sparse", [AutoencoderSparsity(), AutoencoderSparsity(dropout=0.3)])
def test_the_seed_decides_everything(sparse):
    first, same = (fit(Autoencoder([12, 3], sparse=sparse), rows(), training=QUICK) for _ in range(2))
    other = fit(Autoencoder([12, 3], sparse=sparse), rows(), training=AutoencoderTraining(epochs=8, rate=1e-2, batch=32, seed=1))
    assert torch.equal(first.errors, same.errors)
    assert not torch.equal(first.errors, other.errors)


def test_a_penalty_makes_latents_smaller():
    plain, penalised = (
        fit(Autoencoder([12, 4], sparse=AutoencoderSparsity(l1=weight)), rows(), training=QUICK).model for weight in (0.0, 0.3)
    )
    assert float(penalised.encode(rows()).detach().abs().mean()) < 0.5 * float(plain.encode(rows()).detach().abs().mean())


def test_training_stops_when_held_out_rows_get_no_better():
    noise = torch.rand(40, 12, generator=torch.Generator().manual_seed(0))
    how = AutoencoderTraining(epochs=200, rate=3e-2, batch=8, patience=3)
    done = fit(Autoencoder([12, 32, 16]), noise, validation=1 - rows(50), training=how)
    assert len(done.errors) < 200
    assert done.best == int(done.errors.argmin()) + 1
    assert float((done.model(1 - rows(50)) - (1 - rows(50))).detach().square().mean()) == pytest.approx(float(done.errors.min()), rel=1e-5)


def test_progress_is_told():
    told = []
    fit(Autoencoder([12, 3]), rows(), training=AutoencoderTraining(epochs=2, report=lambda done, of: told.append((done, of))))
    assert told == [(0, 2), (1, 2), (2, 2)]


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (rows() * 2, InvalidInput, "sigmoid"),
        (rows(width=11), InvalidInput, "11 values; this autoencoder takes 12"),
        (rows().index_put((torch.tensor(7), torch.tensor(3)), torch.tensor(float("nan"))), InvalidInput, "row 7"),
        (rows()[:0], InvalidInput, "at least one"),
        (rows()[:1], InvalidInput, "one row"),
        (rows().reshape(400, 3, 4), InvalidInput, "flatten"),
        (rows().gt(0.5), WrongType, "bool"),
        ([[0.5] * 12], WrongType, "list"),
    ],
)
def test_rows_that_cannot_be_learnt_from(x, error, words):
    with pytest.raises(error, match=words):
        fit(Autoencoder([12, 3]), x)


def test_an_identity_output_takes_any_rows():
    assert fit(Autoencoder([12, 3], output="identity"), rows() * 9 - 4, training=QUICK).best >= 1


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Autoencoder([12]), InvalidInput, "widths"),
        (lambda: Autoencoder([12, 0]), InvalidInput, "widths"),
        (lambda: Autoencoder([12, 3], activation="rellu"), UnknownName, "relu"),
        (lambda: Autoencoder([12, 3], output="soft"), UnknownName, "soft"),
        (lambda: Autoencoder([12, 3], sparse=AutoencoderSparsity(k=4)), InvalidInput, "k=4 of 3"),
        (lambda: AutoencoderSparsity(k=0), InvalidInput, "at least 1"),
        (lambda: AutoencoderSparsity(l1=-1), InvalidInput, "l1 is a number of at least 0"),
        (lambda: AutoencoderSparsity(dropout=1), InvalidInput, "dropout is a number of at least 0 and below 1"),
        (lambda: AutoencoderTraining(epochs=0), InvalidInput, "epochs"),
        (lambda: AutoencoderTraining(rate=0), InvalidInput, "rate"),
        (
            lambda: fit(Autoencoder([12, 3], output="identity"), rows(), training=AutoencoderTraining(rate=1e30, epochs=2)),
            InvalidInput,
            "diverged",
        ),
    ],
)
def test_what_cannot_be_made(make, error, words):
    with pytest.raises(error, match=words):
        make()
