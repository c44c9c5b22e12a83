"""The built-in tricks as they stood when a run told a trick by the text of its file, not by its code.

Such a run goes on where the trick's code is still what it was, whatever became of its words.
"""

from collections.abc import Mapping

# The hash of a file's text -> that of the code which computes the same today. Where a trick is rewritten and computes
# what it did, the right side moves along; where it computes something else, its line goes.
EARLIER: Mapping[str, str] = {
    "18905281e5afdada": "code:71784cf82cfc44f6",
    "f163b01331e6a7ea": "code:ea2a51cf648bb8f1",
    "c97c7bb3b9f3c780": "code:ae74d83daed5b58f",
    "feef9a7e16b4668c": "code:0735f24cf7840091",
    "f6f7f5b7833a04d6": "code:3c6171ec1416130a",
    "4ec5ef585db06d88": "code:8f45e778c37c2f8b",
    "a5b9b4d30fd1e530": "code:8d22c4742dcfdf3c",
    "f723ef0830238846": "code:10ef84a7bd6b39ce",
    "dfe2120c668cf59b": "code:9abd7677e95be634",
    "d4bb5e248d8df50f": "code:398ab19390026041",
    "bbb868e67891831b": "code:83115e67f5559d5e",
    "49460943d701e732": "code:5d8e9623a61ad3be",
    "1ca779b0cda48492": "code:c94c7c6fb284453b",
    "55df8e9b0d2c8337": "code:9d198277206f23a9",
    "dc155b2ca872eb07": "code:67ebc55597e5d2dd",
    "446018302ec40384": "code:7bbad436c171960e",
    "bc5d50ed6248711d": "code:be856b03bc97568a",
}
