from __future__ import annotations

import numpy as np
import onnx
import pytest

from benchmarks.stopwatch import ROWS, cost_rows, itself_rows, range_rows, training_rows
from benchmarks.support import stopwatch_parts, timed_files
from benchmarks.support.ways_of_timing import at_two_moments, interleaved, loaded, onnxruntime_test_ms, plain_loop


def names(path) -> set[str]:
    graph = onnx.load(str(path)).graph
    return {name for node in graph.node for name in (node.name, *node.input, *node.output)}


def test_a_renamed_copy_computes_the_same_and_shares_only_the_ends_names(tmp_path):
    plain = timed_files.plain(tmp_path, (8, 16))
    copy = timed_files.renamed(plain, tmp_path / "copy.onnx")
    image = np.random.default_rng(0).random((1, *timed_files.SHAPE), np.float32)
    assert np.array_equal(loaded(plain, image)(), loaded(copy, image)())
    assert names(plain.path) & names(copy.path) <= {plain.input, "logits", ""}


def test_the_kinds_of_files_differ(tmp_path):
    operators = [
        {node.op_type for node in onnx.load(str(kind(tmp_path, (8, 16)).path)).graph.node}
        for kind in stopwatch_parts.KINDS
    ]
    assert "QuantizeLinear" in operators[1] - operators[0]
    assert "Sigmoid" in operators[2] - operators[0]


def test_rounds_in_turn_hold_where_the_machine_moves_and_two_moments_do_not():
    speed = np.repeat([[1.0], [2.0], [1.5], [1.0]], 60, axis=1)  # of four loadings, each of 60 rounds
    own, base = 0.5 * speed, speed
    for count in (5, 20, 60):
        assert interleaved(own, base, count) == pytest.approx(np.full(4 * 60 // count, 0.5))
    apart = at_two_moments(own, base, 400)
    assert apart.min() == pytest.approx(0.25)
    assert apart.max() == pytest.approx(1.0)


def test_a_loop_and_the_tool_give_a_time(tmp_path):
    plain = timed_files.plain(tmp_path, (8, 16))
    call = loaded(plain, np.zeros((1, *timed_files.SHAPE), np.float32))
    ratio, low, high = plain_loop(call, call)
    assert 0 < low < ratio < high
    assert onnxruntime_test_ms(plain.path) > 0


def test_the_rows_say_how_often_alike_files_are_seen_to_be_alike():
    ours = [(1.0, 0.99, 1.01), (1.03, 1.01, 1.05), (0.99, None, None)]
    figures = {name: {"stopwatch": ours, "loop": ours[:1], "tool": [(1.5, None, None)]} for name in ("itself", "copy")}
    close, called, error, *_, marked = itself_rows(figures | {"disturbed": 0.5})
    assert (close.ours, close.n) == ("66.7%", "3 each")
    assert called.ours == "50.0%"  # of the two that have an interval
    assert error.peer == "loop 0.0%, onnxruntime_test 50.0%"
    assert marked.ours == "50%"


def test_the_ranges_are_shares_of_the_median_of_all_rounds():
    taken = np.ones((3, 60, 3))
    taken[..., 2] = 0.8
    rows = range_rows({"rounds": taken.tolist(), "int8": [0.8, 0.8, 0.88], "itself": [1.0, 0.99, 1.01]})
    assert rows[0].peer == "0.800"
    assert rows[1].ours == "1.000 to 1.095"
    assert rows[1].peer == "1.000 to 1.000"


def test_what_a_shape_costs_and_what_training_changes():
    figures = {"held": [1.1, 2.4], "timed": [1.0, 2.0], "wall": [2.0, 9.0], "ms": [0.1, 2.0]}
    share, _, wall = cost_rows(figures)
    assert share.ours == "1.15 (1.20)"
    assert (wall.ours, wall.n) == ("2.0 s (2.0)", "1 shapes")
    net = [(0.5, 0.1, 0.0, 0.2), (0.5, 0.1, 0.0, 0.4)]
    slow = [(0.6, 0.2, 1.0, 0.0), (0.6, 0.2, 1.0, 0.0)]
    bias, *_, waiting = training_rows({"idle": [net], "lock": [net], "no lock": [slow], "trials": 3})
    assert bias.ours == "+0.0% (+0% to +0%)"
    assert bias.peer == "no lock: +20.0% (+20% to +20%)"
    assert waiting.ours == "300 ms"


def test_every_part_has_its_rows_and_its_share_of_the_time():
    assert ROWS.keys() == stopwatch_parts.PARTS.keys()
    assert sum(share for _, share in stopwatch_parts.PARTS.values()) == pytest.approx(1.0)
