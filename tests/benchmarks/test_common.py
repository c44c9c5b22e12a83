from benchmarks.support import common


def test_the_root_is_that_of_the_repository():
    assert (common.ROOT / "studies" / "digits.yaml").is_file()
    assert (common.ROOT / "benchmarks" / "support" / "common.py").is_file()


def test_a_command_runs_there_and_hands_back_its_result():
    code = "import os; from benchmarks.support.common import give_result; give_result({'at': os.getcwd()})"
    finished = common.run_python("-c", code)
    assert finished.result == {"at": str(common.ROOT)}
