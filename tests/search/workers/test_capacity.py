"""What a cluster's nodes decide: on which device a trial runs, and how many run at a time."""

import logging

import pytest

from tricksearch.contract import InputError
from tricksearch.search.workers import capacity as room
from tricksearch.search.workers.capacity import gpus_of_a_trial, room_for

HEAD, CPU, GPU = {}, {"CPU": 4.0}, {"CPU": 8.0, "GPU": 2.0}


@pytest.fixture
def joining(monkeypatch):
    """Nodes that join one after another, each time that somebody has looked; a second has no length."""

    def cluster(*nodes):
        looks = iter(range(1, 10**6))
        clock = iter(range(10**6))
        monkeypatch.setattr(
            room.ray, "nodes", lambda: [{"Alive": True, "Resources": each} for each in nodes[: next(looks)]]
        )
        monkeypatch.setattr(room.time, "monotonic", lambda: next(clock))
        monkeypatch.setattr(room.time, "sleep", lambda seconds: None)

    return cluster


def test_auto_waits_for_the_nodes_before_it_decides(joining, make_study, caplog):
    study = make_study()
    joining(HEAD, GPU)
    assert gpus_of_a_trial(study, "head:6379") == 1.0
    assert not caplog.records
    joining(HEAD, GPU)
    assert gpus_of_a_trial(make_study(search={"gpus": 0.5}), "head:6379") == 0.5
    joining(HEAD, CPU)
    with caplog.at_level(logging.WARNING):
        assert gpus_of_a_trial(study, "head:6379") == 0.0
    assert "set train.device to cuda" in caplog.text


def test_auto_without_a_node_to_look_at_is_refused(joining, make_study):
    joining(HEAD)
    with pytest.raises(InputError, match="no worker fits") as told:
        gpus_of_a_trial(make_study(), "head:6379")
    assert "name a train.device" in str(told.value)


def test_a_device_that_is_named_asks_no_node(joining, make_study):
    joining(HEAD)
    assert gpus_of_a_trial(make_study(train={"device": "cuda"}), "head:6379") == 1.0
    assert gpus_of_a_trial(make_study(train={"device": "cpu"}), "head:6379") == 0.0
    with pytest.raises(InputError, match="names one GPU"):
        gpus_of_a_trial(make_study(train={"device": "cuda:1"}))


@pytest.mark.parametrize(("share", "trials"), [(0.7, 8), (0.5, 16), (1 / 3, 24), (0.3, 24), (1.0, 8)])
def test_parts_that_are_left_of_gpus_do_not_add_up(joining, share, trials):
    joining({"CPU": 64.0, "GPU": 8.0})
    assert room_for(1, share, None, None)() == trials


def test_room_grows_with_the_nodes(joining):
    joining(HEAD, CPU, GPU)
    room_now = room_for(2, 0.0, None, "head:6379")
    assert [room_now() for _ in range(4)][-1] == 6
    joining(CPU)
    assert room_for(1, 0.0, None, None)() == 4
    joining(HEAD)
    assert room_for(1, 0.0, 7, "head:6379")() == 7, "those that do not fit wait"
    joining(CPU)
    with pytest.raises(InputError, match="a trial takes 5 CPU threads and 1 GPUs, the nodes have 4 CPUs and 0 GPUs"):
        room_for(5, 1.0, None, None)
