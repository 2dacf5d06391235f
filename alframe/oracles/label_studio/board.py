"""How a campaign looks in Label Studio: one project, its labelling page, and one task for each of ours.

A flat region is one picture; a volume is its slices, as the pages of one task. Around the region the picture shows what surrounds
it, with a frame between them; what is painted out there is not meant. (Label Studio takes uploads for one picture a task, so
there is none beside it.) Legend: ``C`` channels, ``S`` the box's spatial axes ``(Z) Y X``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue
from alframe.labelling import LabellingDesk, Task, colour
from alframe.oracles.label_studio import brush
from alframe.oracles.label_studio.service import Service
from alframe.oracles.pictures import framed, grey_window, png, visible
from alframe.ports import Pool
from alframe.types import UNANNOTATED, Box, Outcome

__all__ = [
    "CHOICES",
    "CLASSES",
    "KEY",
    "LEFT_OPEN",
    "OUTCOME",
    "REASON",
    "label_config",
    "pages",
    "prediction",
    "project_of",
    "put_up",
    "shown_box",
    "within",
]

KEY = "alframe"
"""The field of a task's data that holds our task's id."""
MODEL = "alframe"
CLASSES, OUTCOME, REASON, IMAGE = "classes", "outcome", "reason", "image"
LEFT_OPEN = "(left open)"
CHOICES = {
    Outcome.EMPTY_CONFIRMED: "Nothing to draw",
    Outcome.AMBIGUOUS: "Cannot be told",
    Outcome.UNUSABLE: "Unusable image",
}
_BATCH = 20
_TITLE = 50
_INSTRUCTION = """\
Paint each class with its brush, inside the frame; what you do not paint is {background}. Paint {left_open} where you cannot or
need not say. If there is nothing to draw, say so below. Skip gives the task to somebody else; an unusable image leaves the
campaign. Update to correct; deleting an annotation withdraws nothing.
"""


def project_of(service: Service, campaign: str, classes: Sequence[str], axes: int, replicas: int) -> int:
    """The project of a campaign, made when there is none. Its description, not its title, says whose it is."""
    mark = f"[alframe: {campaign}]"
    for one in service.projects():
        if mark in (one.get("description") or ""):
            return int(one["id"])
    made = service.post(
        "/api/projects",
        {
            "title": f"alframe {campaign}"[:_TITLE],
            "description": f"Regions that the model would learn most from. {mark}",
            "label_config": label_config(classes, axes),
            "expert_instruction": _INSTRUCTION.format(background=classes[0], left_open=LEFT_OPEN).replace("\n", "<br>"),
            "show_instruction": True,
            "show_collab_predictions": True,
            "enable_empty_annotation": True,
            "maximum_annotations": replicas,
        },
    )
    return int(made["id"])


def label_config(classes: Sequence[str], axes: int) -> str:
    """The labelling page as Label Studio's XML."""
    if LEFT_OPEN in classes:
        raise InvalidValue(f"no class can be called {LEFT_OPEN!r} in Label Studio; rename it")
    source = 'valueList="$images"' if axes == 3 else 'value="$image"'
    labels = [
        f"<Label value={quoteattr(name)} background={quoteattr(colour(number))}/>"
        for number, name in enumerate(classes)
        if number
    ]
    choices = [f"<Choice alias={quoteattr(key.value)} value={quoteattr(text)}/>" for key, text in CHOICES.items()]
    return f"""<View>
  <Image name="{IMAGE}" {source} zoom="true" zoomControl="true" smoothing="false"/>
  <BrushLabels name="{CLASSES}" toName="{IMAGE}">
    {"".join(labels)}
    <Label value={quoteattr(LEFT_OPEN)} background="#404040"/>
  </BrushLabels>
  <Choices name="{OUTCOME}" toName="{IMAGE}" choice="single" showInline="true">{"".join(choices)}</Choices>
  <TextArea name="{REASON}" toName="{IMAGE}" rows="1" maxSubmissions="1" editable="true" placeholder="Reason, if you like"/>
</View>"""


def pages(array_S: NDArray[Any]) -> list[NDArray[Any]]:
    """The planes of one or many pages that Label Studio shows of an array."""
    return list(array_S) if array_S.ndim == 3 else [array_S]


def shown_box(box: Box, shape: Sequence[int], margin: float) -> Box:
    """What a picture shows: `box` and around it, in its plane, `margin` times its sides, as far as the item of `shape` goes."""
    grown = [0] * (len(shape) - 2) + [round(margin * side) for side in box.shape[-2:]]
    start = tuple(max(0, a - more) for a, more in zip(box.start, grown, strict=True))
    stop = tuple(min(n, b + more) for b, more, n in zip(box.stop, grown, shape, strict=True))
    return Box(start=start, stop=stop)


def within(box: Box, shown: Box) -> Box:
    """Where `box` lies in the picture of `shown`."""
    start = tuple(a - b for a, b in zip(box.start, shown.start, strict=True))
    return Box(start=start, stop=tuple(a + side for a, side in zip(start, box.shape, strict=True)))


def put_up(
    service: Service, project: int, tasks: Sequence[Task], pool: Pool, desk: LabellingDesk, margin: float
) -> None:
    """Make a task in Label Studio of each of ours that has none there; pictures that arrived before are used again."""
    there = {one["data"].get(KEY) for one in service.tasks(project)}
    missing = [task for task in tasks if task.id not in there]
    if not missing:
        return
    uploaded, predicted = service.uploads(project), False
    for first in range(0, len(missing), _BATCH):
        batch = missing[first : first + _BATCH]
        around = {task.id: shown_box(task.box, pool.info(task.item).shape, margin) for task in batch}
        pictures = {task.id: _pictures(task, pool, around[task.id]) for task in batch}
        fresh = {name: data for one in pictures.values() for name, data in one.items() if name not in uploaded}
        if fresh:
            service.upload(project, fresh)
            uploaded = service.uploads(project)
        made = []
        for task in batch:
            shown = desk.prefill(task)
            predicted |= shown is not None
            guess = [] if shown is None else [prediction(task, shown["classes"], around[task.id])]
            made.append({"data": _data(task, [uploaded[name] for name in pictures[task.id]]), "predictions": guess})
        service.import_tasks(project, made)
    if predicted:
        service.patch(f"/api/projects/{project}/", {"model_version": MODEL})


def _data(task: Task, paths: Sequence[str]) -> dict[str, Any]:
    """What Label Studio keeps of a task."""
    about = {KEY: task.id, "item": task.item, "round": task.batch, "place": task.place}
    return about | ({"images": list(paths)} if len(task.box.shape) == 3 else {"image": paths[0]})


def _pictures(task: Task, pool: Pool, around: Box) -> dict[str, bytes]:
    """By file name: the pages of a task, each a PNG of `around` with a frame around the box."""
    image, inner = pool.image(task.item, around), within(task.box, around)
    window = grey_window(image[(slice(None), *inner.slices)])
    planes = [visible(plane, window) for plane in (np.moveaxis(image, 1, 0) if image.ndim == 4 else [image])]
    flat = Box(start=inner.start[-2:], stop=inner.stop[-2:])
    pages = [plane if around == task.box else framed(plane, flat) for plane in planes]
    name = hashlib.sha256(task.id.encode()).hexdigest()[:32]  # what Label Studio does not change
    return {f"{name}-{number}.png": png(picture) for number, picture in enumerate(pages)}


def prediction(task: Task, classes_S: NDArray[np.uint8], around: Box) -> dict[str, Any]:
    """The pre-fill as a prediction: one brush region for each class on each page, on a picture of `around`."""
    regions = []
    whole = np.zeros(around.shape, np.uint8)
    whole[within(task.box, around).slices] = classes_S
    for page, plane in enumerate(pages(whole)):
        for number in np.unique(plane):
            if number not in (0, UNANNOTATED):
                regions.append(_region(task, page, task.classes[number], plane == number, classes_S.ndim == 3))
    return {"model_version": MODEL, "result": regions}


def _region(task: Task, page: int, name: str, mask_YX: NDArray[np.bool_], paged: bool) -> dict[str, Any]:
    height, width = mask_YX.shape
    region = {
        "id": f"{page}-{task.classes.index(name)}",
        "type": "brushlabels",
        "from_name": CLASSES,
        "to_name": IMAGE,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": brush.encode(mask_YX), "brushlabels": [name]},
    }
    return region | ({"item_index": page} if paged else {})
