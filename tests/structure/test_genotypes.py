"""Genotypes are read and written as the field does, and mean cells."""

import json

import numpy as np
import pytest

from keras_struct.nas.cells import Path, Wiring, all_paths, edges_before, gather, wiring_of_genes
from keras_struct.nas.discretization import chosen, edges_of, genes_of, projection
from keras_struct.nas.genotypes import PRIMITIVES, Genotype, RecurrentGenotype
from keras_struct.nas.known_genotypes import DARTS_RNN_V2, DARTS_V1, DARTS_V2, KNOWN

RNG = np.random.default_rng(0)
DIGESTS = {
    "DARTS_V1": "b604e27c716e",
    "DARTS_V2": "01ec5332d439",
    "NASNet": "e23b3bf1b321",
    "AmoebaNet": "b31260e3c8d4",
    "DARTS_RNN_V1": "9b7b2eadd052",
    "DARTS_RNN_V2": "5f45bc33d32a",
    "ENAS_RNN": "e90ccfdbed51",
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_genotypes_are_read_back_from_what_they_print(name):
    known = KNOWN[name]
    again = type(known).parse(str(known))
    assert again == known == type(known).parse(known.to_json())
    assert again.digest() == known.digest()
    assert len(known.digest()) == 12
    assert len({each.digest() for each in KNOWN.values()}) == len(KNOWN)


def test_known_genotypes_stay_as_they_are():
    assert {name: known.digest() for name, known in KNOWN.items()} == DIGESTS


def test_what_papers_and_logs_print_is_read():
    text = (
        "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
        "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=range(2, 6), "
        "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
        "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))"
    )
    assert Genotype.parse(text) == DARTS_V2
    assert str(DARTS_V2) == text
    nested = text.replace(
        "[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ", "[[('sep_conv_3x3', 0), ('sep_conv_3x3', 1)], ", 1
    )
    assert Genotype.parse(nested.replace("Genotype", "Genotype2")) == DARTS_V2
    assert Genotype.parse(text.replace("range(2, 6)", "[2, 3, 4, 5]")) == DARTS_V2
    recurrent = "Genotype_rnn(recurrent=[('sigmoid', 0), ('relu', 1)], concat=range(1, 3))"
    assert RecurrentGenotype.parse(recurrent).recurrent == (("sigmoid", 0), ("relu", 1))
    assert str(DARTS_RNN_V2).startswith("Genotype(recurrent=[('sigmoid', 0)")
    assert json.loads(DARTS_V1.to_json())["normal"][0] == ["sep_conv_3x3", 1]
    assert (DARTS_V1.count("skip_connect"), DARTS_V1.count("dil_conv_3x3")) == (6, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "Cannot read a genotype"),
        ("__import__('os').remove('x')", "Cannot read a genotype"),
        ("Genotype(normal=open('x'), normal_concat=[2], reduce=[], reduce_concat=[2])", "Cannot read a genotype"),
        ("Genotype(normal=[('skip_connect', 0), ('skip_connect', 1)])", "whose parts are"),
        ("Other(normal=[])", "Cannot read a genotype"),
        ("{'normal': 1}", "Cannot read a genotype"),
        ("Genotype(" + "(" * 400, "Cannot read a genotype"),
        ('{"normal": 3, "normal_concat": [2], "reduce": [], "reduce_concat": [2]}', "."),
    ],
)
def test_what_is_no_genotype_is_refused_and_never_executed(text, expected):
    with pytest.raises((ValueError, TypeError), match=expected):
        Genotype.parse(text)


SKIPS = [("skip_connect", 0), ("skip_connect", 1)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"normal": [("conv", 0), ("skip_connect", 1)]}, r"Unknown operation 'conv' in gene 0 of `normal`"),
        ({"normal": [("skip_connect", 0), ("skip_connect", 2)]}, "reads state 2: expected 0 to 1"),
        ({"normal": SKIPS[:1]}, "two genes for each node"),
        ({"normal": []}, "two genes for each node"),
        ({"normal": [("skip_connect", 0.5), ("skip_connect", 1)]}, "A gene is"),
        ({"normal": ["skip_connect", 0]}, "A gene is"),
        ({"reduce_concat": [3]}, "outputs states"),
        ({"reduce_concat": [2, 2]}, "each once"),
        ({"reduce_concat": "2"}, "is a list of states"),
    ],
)
def test_genotypes_that_cannot_be_are_refused(change, expected):
    parts = {"normal": SKIPS, "normal_concat": [2], "reduce": SKIPS, "reduce_concat": [2], **change}
    with pytest.raises(ValueError, match=expected):
        Genotype(**parts)


def test_recurrent_genotypes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="Unknown operation 'gelu'"):
        RecurrentGenotype([("gelu", 0)], [1])
    with pytest.raises(ValueError, match="reads state 1: expected 0 to 0"):
        RecurrentGenotype([("tanh", 1)], [1])
    with pytest.raises(ValueError, match="outputs states"):
        RecurrentGenotype([("tanh", 0)], [0])


# Discretisation


def reference(weights, operations, inputs, kept):
    """The paper's rule by explicit loops: per node the edges with the strongest operation, and that operation."""
    found, start, node = [], 0, 0
    while start < len(weights):
        rows = list(range(start, start + inputs + node))
        ranked = sorted(
            rows, key=lambda row: (-max(w for w, o in zip(weights[row], operations, strict=True) if o != "none"), row)
        )
        for row in ranked[:kept]:
            best = max((w, -k) for k, (w, o) in enumerate(zip(weights[row], operations, strict=True)) if o != "none")
            found.append((operations[-best[1]], row - start))
        start += inputs + node
        node += 1
    return tuple(found)


@pytest.mark.parametrize(("nodes", "inputs", "kept"), [(4, 2, 2), (1, 2, 2), (8, 1, 1), (3, 2, 2), (1, 1, 1)])
def test_the_discrete_cell_is_that_of_explicit_loops(nodes, inputs, kept):
    edges = edges_of(nodes, inputs)[-1].stop
    for trial in range(20):
        weights = np.round(RNG.random((edges, 8)), 1 if trial % 2 else 6)  # rounded: with ties
        assert genes_of(weights, PRIMITIVES, inputs, kept) == reference(weights, PRIMITIVES, inputs, kept)
        ones = projection(weights, PRIMITIVES, inputs, kept)
        assert ones.sum() == nodes * kept
        assert ones[:, 0].sum() == 0
        pairs = [place for each in chosen(weights, PRIMITIVES, inputs, kept) for place in each]
        assert {tuple(place) for place in np.argwhere(ones)} == set(pairs)


def test_the_projection_is_the_nearest_of_all_discrete_cells():
    """For one node: of all choices of two edges and one operation each, the paper's is the nearest."""
    for _ in range(20):
        weights = RNG.dirichlet(np.ones(3), size=3)
        operations = ["none", "a", "b"]
        found = projection(np.vstack([np.zeros((2, 3)), weights]), operations)[2:]
        distances = []
        for first, second in ((0, 1), (0, 2), (1, 2)):
            for a in (1, 2):
                for b in (1, 2):
                    point = np.zeros((3, 3))
                    point[first, a] = point[second, b] = 1
                    distances.append(np.linalg.norm(weights - point))
        assert np.linalg.norm(weights - found) == pytest.approx(min(distances))


# Wiring


def test_edges_are_numbered_target_by_target():
    paths = all_paths(4, PRIMITIVES)
    assert len(paths) == 14 * 7
    assert {path.edge for path in paths} == set(range(14))
    assert Path("skip_connect", 3, 5).edge == edges_before(5) + 3 == 12


def test_weights_of_a_discrete_cell_are_found_among_those_of_all():
    whole = Wiring(all_paths(4, PRIMITIVES), 4, True, True, False)
    part = Wiring(wiring_of_genes(DARTS_V1.reduce, True), 4, True, True, False)
    places = gather(list(whole.rows), list(part.rows))
    keys = list(whole.rows)
    assert [keys[i] for i in places] == list(part.rows)
    assert {path.operation for path in part.paths} == {"max_pool_3x3", "avg_pool_3x3", "skip_connect"}
    assert part.weighted("skip_connect") == []  # all of them read nodes, with stride 1
    assert len(whole.weighted("skip_connect")) == 8


def test_paths_that_come_twice_have_weights_of_their_own():
    genes = [("sep_conv_3x3", 0), ("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("skip_connect", 0)]
    twice = Wiring(wiring_of_genes(genes, True), 2, True, True, False)
    names = [("sep_conv_3x3", 0, 2, 0), ("sep_conv_3x3", 0, 2, 1), ("sep_conv_3x3", 1, 3, 0)]
    assert twice.keys == [("skip_connect", 0, 3, 0), *names]
    stages = [(*name, stage) for stage in (0, 1) for name in names]
    assert list(twice.rows) == [("preprocess", 0), ("preprocess", 1), ("skip_connect", 0, 3, 0, 0), *stages]
