import inspect
import json
import sys
from types import ModuleType

import pytest
import torch
from torch import nn

import sightline as sl
from sightline.build.networks import (
    check_network,
    describe_network,
    load_class,
    make_network,
    network_maker,
    source_of,
)
from sightline.errors import NetworkError
from tests.build.specs import spec_of


class Net(nn.Module):
    """A network of the user's own."""

    def __init__(self, spec):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(len(spec.numeric), spec.outputs)])

    def forward(self, numeric, categorical):
        return self.layers[0](numeric)


class Odd(Net):
    """A network that gives whatever a function makes of its logits."""

    def __init__(self, spec, change):
        super().__init__(spec)
        self.change = change

    def forward(self, numeric, categorical):
        return self.change(super().forward(numeric, categorical))


# ------------------------------------------------------------- check_network


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x[:, :2], r"Odd returns logits of shape \[3, 2\] on numeric \[B=3, D=2\] float32 and categorical "
         r"\[B=3, C=2\] int32, instead of \[3, 3\] \(or \[3, M, 3\].*'y' has 3 classes"),
        (lambda x: x[:1], r"shape \[1, 3\] on .*instead of \[3, 3\]"),
        (lambda x: x[:, 0], r"shape \[3\] on .*instead of \[3, 3\]"),
        (lambda x: x[:, None, None], r"shape \[3, 1, 1, 3\] on"),
        (lambda x: (x, x), r"Odd returns a tuple, not a tensor. Return logits \[3, 3\]"),
        (lambda x: x.detach().numpy(), "Odd returns a ndarray"),
        (lambda x: None, "Odd returns a NoneType"),
        (lambda x: x.int(), r"Odd returns logits of type torch.int32. Return floating-point logits"),
        (lambda x: 1 / 0, r"Odd.forward raised ZeroDivisionError on numeric \[B=3, D=2\]"),
    ],
)  # fmt: skip
def test_an_output_that_does_not_fit_is_refused_with_shapes(change, said):
    with pytest.raises(NetworkError, match=said):
        check_network(Odd(spec_of(), change), spec_of())


def test_a_regression_wants_one_number():
    spec = spec_of(classes=())
    with pytest.raises(
        NetworkError, match=r"shape \[3, 2\].*'y' is a number \(regression\): 1 output"
    ):
        check_network(Odd(spec, lambda x: x.repeat(1, 2)), spec)


def test_members_are_welcome():
    check_network(Odd(spec_of(), lambda x: x[:, None].repeat(1, 8, 1)), spec_of())


def test_forward_with_one_argument_is_sent_to_flat():
    with pytest.raises(NetworkError, match=r"Linear.forward raised TypeError.*sl\.Flat"):
        check_network(nn.Linear(2, 3), spec_of())


def test_a_network_with_nothing_to_learn():
    class Nothing(nn.Module):
        def forward(self, numeric, categorical):
            return numeric.new_zeros(len(numeric), 3)

    frozen = Net(spec_of()).requires_grad_(False)
    for network in (Nothing(), frozen):
        with pytest.raises(NetworkError, match="has no trainable parameters"):
            check_network(network, spec_of())


@pytest.mark.parametrize("network", [Net, "Net", lambda a, b: a, None])
def test_what_is_no_module(network):
    with pytest.raises(NetworkError, match=f"is a {type(network).__name__}, not an nn.Module"):
        check_network(network, spec_of())


@pytest.mark.parametrize("training", [True, False])
def test_a_check_leaves_the_network_as_it_was(training):
    spec = spec_of(cardinalities=())
    network = sl.Flat(spec, nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 3))).train(training)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    check_network(network, spec)
    assert network.training is training
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


# ------------------------------------------------------------- make_network, load_class

CODE = """
import torch
from torch import nn

class Tiny(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.last = nn.Linear(len(spec.numeric), spec.outputs)

    def forward(self, numeric, categorical):
        return self.last(numeric)

number = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(CODE)
    return path


def test_a_network_is_made_from_whatever_names_one(file):
    spec = spec_of()
    module = Net(spec)
    assert make_network(None, spec).config()["hidden"] == [64]
    assert make_network(module, spec) is module
    assert isinstance(make_network(Net, spec), Net)
    assert make_network(lambda s: sl.MLP(s, [3]), spec).config()["hidden"] == [3]
    assert type(make_network(f"{file}:Tiny", spec)).__name__ == "Tiny"


def test_a_maker_that_fails_is_named():
    def broken(spec):
        raise KeyError("width")

    with pytest.raises(NetworkError, match=r"broken\(spec\) raised KeyError: 'width'"):
        make_network(broken, spec_of())
    with pytest.raises(NetworkError, match="The network is a int"):
        make_network(lambda spec: 3, spec_of())


def test_a_maker_that_cannot_be_called(file):
    with pytest.raises(NetworkError, match="raised TypeError: 'int' object is not callable"):
        make_network(f"{file}:number", spec_of())


@pytest.mark.parametrize("place", ["net.py", ":Net", "net.py:", ""])
def test_a_place_of_another_form(place):
    with pytest.raises(NetworkError, match=r"is not of the form file\.py:Class") as caught:
        load_class(place)
    assert repr(place) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(NetworkError, match=r"none\.py does not exist"):
        load_class(f"{tmp_path / 'none.py'}:Net")


def test_a_file_that_is_not_python(tmp_path):
    (tmp_path / "net.txt").write_text(CODE)
    with pytest.raises(NetworkError, match=r"net\.txt is not a Python file"):
        load_class(f"{tmp_path / 'net.txt'}:Tiny")


@pytest.mark.parametrize(
    ("code", "said"),
    [("1 / 0", "ZeroDivisionError"), ("def", "SyntaxError"), ("import nowhere1", "nowhere1")],
)
def test_a_file_that_raises(tmp_path, code, said):
    (tmp_path / "net.py").write_text(code)
    before = set(sys.modules)
    with pytest.raises(NetworkError, match=rf"net\.py raised .*{said}"):
        load_class(f"{tmp_path / 'net.py'}:Net")
    assert not {name for name in set(sys.modules) - before if name.startswith("sightline_network")}


def test_a_class_that_is_not_there(file):
    with pytest.raises(NetworkError, match=r"has no 'tiny'. Did you mean 'Tiny'\?"):
        load_class(f"{file}:tiny")


def test_the_source_of_a_network(file, tmp_path):
    spec = spec_of()
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "net.py"
    other.write_text(CODE + "# another file of the same name\n")
    first, second = make_network(f"{file}:Tiny", spec), make_network(f"{other}:Tiny", spec)
    assert source_of(first) == file.read_bytes()
    assert source_of(second) == other.read_bytes()
    assert b"class Net(nn.Module)" in source_of(Net(spec))
    assert source_of(sl.MLP(spec)) is None
    assert source_of(nn.Linear(2, 3)) is None


def test_a_class_typed_into_a_notebook_has_no_source(monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    typed = type("Typed", (Net,), {"__module__": "__main__"})
    with pytest.raises(OSError, match="source code not available"):
        inspect.getsourcefile(typed)
    assert source_of(typed(spec_of())) is None


def test_a_file_that_ends_the_program_is_an_error(tmp_path):
    (tmp_path / "net.py").write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(NetworkError, match=r"net\.py raised SystemExit: 3"):
        load_class(f"{tmp_path / 'net.py'}:Net")


# ------------------------------------------------------------- descriptions


def test_a_built_in_network_is_described_and_made_again():
    spec = spec_of()
    described, source = describe_network(sl.MLP(spec, [8, 4], "gelu"))
    assert source is None
    maker = network_maker(json.loads(json.dumps(described)), None, None)
    again = make_network(maker, spec)
    assert again.config() == sl.MLP(spec, [8, 4], "gelu").config()


def test_a_network_of_your_own_is_made_again_from_its_kept_source(file, tmp_path):
    spec = spec_of()
    described, source = describe_network(make_network(f"{file}:Tiny", spec))
    assert (described["class"], described["built_in"]) == ("Tiny", False)
    kept = tmp_path / "sources" / f"{described['source']}.py"
    kept.parent.mkdir()
    with pytest.raises(
        NetworkError, match=r"Tiny is one of your own, and its source file was not kept.*network="
    ):
        network_maker(described, None, kept.parent)
    kept.write_bytes(source)
    again = make_network(network_maker(described, None, kept.parent), spec)
    assert type(again).__name__ == "Tiny"
    kept.write_bytes(source + b"\n")
    with pytest.raises(NetworkError, match="has changed since it was kept"):
        network_maker(described, None, kept.parent)


def test_a_network_given_again_is_copied(file):
    given = Net(spec_of())
    described, _ = describe_network(given)
    again = network_maker(described, given, None)
    assert again is not given
    assert torch.equal(again.layers[0].weight, given.layers[0].weight)
    assert network_maker(described, Net, None) is Net
