"""A model's tensors, read into the ``transformers`` library's net, and how it is run."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch

from eopipe.errors import PlanError, WeightsError, one_line
from eopipe.models.checkpoints import open_checkpoint
from eopipe.models.foundation.resolve import Resolved, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from torch import Tensor

    from eopipe.models.registry_entry import FoundationTask

_CLASSES = {
    "vit": "ViTModel",
    "dinov2": "Dinov2Model",
    "sam": "SamModel",
    "sam2": "Sam2Model",
    "grounding-dino": "GroundingDinoForObjectDetection",
    "mm-grounding-dino": "MMGroundingDinoForObjectDetection",
}
_UNUSED = "pooler."
"""Tensors that a ViT's file may hold beside its blocks, and that features do not use."""


class Net:
    """A net with its weights, float32, without dropout.

    Args:
        model: From `eopipe.models.foundation.resolve.resolve`; its folder is searched again, on this machine.
        kind: What it has to give.
        device: Where it runs.
        threads: Of torch while it runs on a CPU; what was set before is set again afterwards.

    Raises:
        PlanError: The ``transformers`` library is not installed.
        WeightsError: The folder is missing or is another than the one resolved; a file is damaged; or the tensors are
            not those of the architecture, all of them and no others.
    """

    def __init__(self, model: Resolved, kind: FoundationTask, *, device: str, threads: int) -> None:
        local = resolve(model.name, kind)
        if local.weights != model.weights:
            files = {*local.weights, *model.weights}
            changed = min(file for file in files if local.weights.get(file) != model.weights.get(file))
            raise WeightsError(
                f"model {model.name!r}: {local.folder.path} has another {changed.rpartition('/')[2]} than the run "
                f"began with, or only one of them has it; put the same folder here"
            )
        self.model, self.device, self._threads = local, device, threads
        self.module: Any = _read(local).to(device)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Without gradients, with this net's number of threads."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                yield
        finally:
            torch.set_num_threads(before)


class NetModel:
    """A model that works with one net.

    Args:
        net: With its weights.
    """

    task: ClassVar[FoundationTask]
    """What it gives."""

    def __init__(self, net: Net) -> None:
        self._net = net

    @classmethod
    def load(cls, model: Resolved, *, device: str, threads: int) -> Self:
        """Read the tensors; see `Net`."""
        return cls(Net(model, cls.task, device=device, threads=threads))


def _read(model: Resolved) -> Any:
    """The net; transformers receives values, so that it opens no file and fetches none.

    Raises:
        PlanError: It is not installed.
        WeightsError: See `Net`.
    """
    library = _transformers(model.name)
    kind = getattr(library, _CLASSES[model.entry.model_type])
    config = {key: value for key, value in model.config.items() if key != "model_type"}
    options = {"add_pooling_layer": False} if model.entry.model_type == "vit" else {}
    state = _tensors(model)
    try:
        with _quiet(library):
            net, report = kind.from_pretrained(
                None,
                config=kind.config_class.from_dict(config),
                state_dict=state,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # refused below, in one line
                output_loading_info=True,
                local_files_only=True,
                **options,
            )
    except Exception as error:  # the library raises its own kinds, for a configuration that it cannot build too
        reason = one_line(f"{type(error).__name__}: {error}", 200)
        raise WeightsError(
            f"model {model.name!r}: transformers {library.__version__} cannot build {kind.__name__} of "
            f"{model.folder.path} ({reason}); get the folder again"
        ) from error
    _must_fit(model, kind.__name__, report)
    return net.eval()


def _tensors(model: Resolved) -> dict[str, Tensor]:
    """Every tensor of a folder by name."""
    files = (open_checkpoint(model.folder.path / name) for name in model.folder.tensors)
    return {name: tensor for file in files for name, tensor in file.items()}


def _must_fit(model: Resolved, kind: str, report: dict[str, Any]) -> None:
    """Refuse tensors that do not fit: the library would fill what is missing at random and go on.

    Raises:
        WeightsError: A tensor is missing, unknown or misshapen.
    """
    wrong = {
        "missing": report["missing_keys"],
        "unknown": [name for name in report["unexpected_keys"] if not name.startswith(_UNUSED)],
        "of another shape": [name for name, *_ in report["mismatched_keys"]],
    }
    faults = [f"{len(names)} {fault}, such as {min(names)}" for fault, names in wrong.items() if names]
    if faults:
        raise WeightsError(
            f"model {model.name!r}: the tensors of {model.folder.path} are not those of {kind}: {'; '.join(faults)}; "
            f"get the folder again"
        )


def _transformers(name: str) -> ModuleType:
    try:
        import transformers  # noqa: PLC0415  (it takes seconds: only a run of a model waits for it)
    except ImportError as error:
        raise PlanError(f"model {name!r} needs the transformers library: pip install 'eopipe[change]'") from error
    return transformers


@contextmanager
def _quiet(library: ModuleType) -> Iterator[None]:
    """The library draws bars and reports on standard error; an error tells the outcome in one line."""
    logs = library.utils.logging
    level, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity(logs.CRITICAL)
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(level)
        if bars:
            logs.enable_progress_bar()
