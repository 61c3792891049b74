"""The metrics that scripts log, as far as their source says."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Set
from dataclasses import dataclass

from amlocal.lint.script.modules import Module

_LOGGERS = frozenset({"log_metric", "log_metrics", "log", "log_dict", "log_row", "log_list", "log_batch", "add_scalar"})
# Calls that log metrics whose names no source shows.
_BY_THEMSELVES = frozenset({"autolog", "Trainer", "Seq2SeqTrainer", "SFTTrainer", "MLFlowLogger", "MLflowCallback"})
# Imported from outside, these log nothing of their own.
_QUIET = frozenset(sys.stdlib_module_names) | frozenset(
    {"mlflow", "azureml", "azure", "numpy", "pandas", "sklearn", "scipy", "torch", "torchvision", "matplotlib"}
    | {"seaborn", "PIL", "cv2", "joblib", "yaml", "tqdm", "click", "pyarrow", "psutil", "nltk", "spacy"}
    | {"tensorflow", "keras", "xgboost", "lightgbm", "statsmodels", "datasets", "safetensors", "skimage", "dotenv"}
)
_CLIENTS = frozenset({"requests", "urllib", "http", "socket", "subprocess", "httpx", "aiohttp", "urllib3"})


@dataclass(frozen=True)
class Logged:
    """What is logged.

    Attributes:
        names: literal metric names.
        other: why more may be logged than is seen; None when all is seen.
        texts: every literal text of the source, for names that reach the logger through a variable.
    """

    names: frozenset[str]
    other: str | None
    texts: frozenset[str]


def logged(modules: Iterable[Module], outside: Set[str]) -> Logged:
    """Find the metrics that modules log.

    Args:
        modules: the script and what it imports from its own directory.
        outside: the packages that these import from elsewhere.
    """
    names: set[str] = set()
    texts: set[str] = set()
    other: list[str] = []
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
            elif isinstance(node, ast.keyword) and node.arg:
                texts.add(node.arg)
            elif isinstance(node, ast.Attribute):
                texts.add(node.attr)
            elif isinstance(node, ast.Name):
                texts.add(node.id)
            if isinstance(node, ast.Call):
                found, unseen = _call(node)
                names.update(found)
                if unseen:
                    other.append(f"{module.path.name}:{node.lineno} {unseen}")
    own_client = outside & _CLIENTS or any("MLFLOW_" in text for text in texts)
    if own_client:
        other.append("it may log by requests of its own")
    unknown = sorted(outside - _QUIET)
    if unknown:
        other.append(f"{', '.join(unknown)} may log")
    # What says the least about the name comes first.
    other.sort(key=lambda reason: "worked out" in reason)
    return Logged(frozenset(names), other[0] if other else None, frozenset(texts))


def _call(node: ast.Call) -> tuple[set[str], str | None]:
    callee = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if callee in _BY_THEMSELVES:
        return set(), f"{callee} logs by itself"
    if callee not in _LOGGERS:
        return set(), None
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    first = node.args[0] if node.args else given.get("key") or given.get("name") or given.get("metrics")
    if isinstance(first, ast.Constant):
        return ({first.value} if isinstance(first.value, str) else set()), None
    if isinstance(first, ast.Dict):
        keys = {key.value for key in first.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
        whole = len(keys) == len(first.keys)
        return keys, None if whole else "logs names that are worked out"
    if callee == "log" and isinstance(first, (ast.BinOp, ast.Call, ast.Attribute, ast.Subscript)):
        return set(), None  # math.log and the like
    return set(), f"{callee} logs a name that is worked out"
