"""What a rater sees of a task: the region, the item around it, and what the model says."""

from __future__ import annotations

import hashlib
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from alframe.annotator import pictures
from alframe.annotator.answers import Identifier, bytes_of, said
from alframe.annotator.caller import Call, Caller
from alframe.annotator.masks import gzipped
from alframe.annotator.office import Office
from alframe.errors import NotFound
from alframe.labelling import Task

__all__ = ["image_routes", "model_routes"]

Slice = Annotated[int, Query(alias="slice", ge=0, le=2**31, description="The slice of a 3-D region; 0 for a flat one.")]
_RAW = "application/octet-stream"


def _plane(office: Office, caller: Caller, task: str, number: int) -> Task:
    """A task that the caller may see and that has this slice. Raises NotFound, Forbidden."""
    found = office.visible(caller.credential(), task)
    slices = found.box.shape[0] if len(found.box.shape) == 3 else 1
    if number >= slices:
        raise NotFound(f"task {task} has the slices 0 to {slices - 1}, and no {number}")
    return found


def _name(office: Office, kind: str, task: Task, number: int = 0) -> str:
    """What names these pixels: the pool never changes under its hash."""
    shown = "" if task.prefill is None else task.prefill.sha256
    text = f"{office.pool.manifest_hash}/{shown}/{kind}/{task.item}/{task.box.start}/{task.box.stop}/{number}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def image_routes(office: Office) -> APIRouter:
    """``/tasks/{id}/image.png``, ``pixels`` and ``context.png``."""
    routes = APIRouter(tags=["images"])

    @routes.get("/tasks/{task}/image.png", responses=said(403, 404, media="image/png", note="RGB or grey, 8 bit"))
    def image(task: Identifier, request: Request, caller: Call, number: Slice = 0) -> Response:
        """A slice of the region as it is shown at first."""
        found = _plane(office, caller, task, number)
        info = office.pool.info(found.item)
        pixels = pictures.samples(office.pool, found.item, pictures.plane_box(found.box, number))
        data = pictures.png(pixels, office.window(found.item), rgb=pictures.is_rgb(info))
        return bytes_of(
            data, "image/png", name=_name(office, "png", found, number), match=request.headers.get("if-none-match")
        )

    @routes.get(
        "/tasks/{task}/pixels", responses=said(403, 404, media=_RAW, note="Samples (C, Y, X), little-endian, gzip")
    )
    def pixels(task: Identifier, request: Request, caller: Call, number: Slice = 0) -> Response:
        """A slice of the region as it was ingested."""
        found = _plane(office, caller, task, number)
        data = gzipped(pictures.samples(office.pool, found.item, pictures.plane_box(found.box, number)).tobytes())
        match = request.headers.get("if-none-match")
        return bytes_of(data, _RAW, name=_name(office, "pixels", found, number), match=match, packed=True)

    @routes.get(
        "/tasks/{task}/context.png", responses=said(403, 404, media="image/png", note="The whole item in small")
    )
    def context(task: Identifier, request: Request, caller: Call, number: Slice = 0) -> Response:
        """The item around the region, at most 512 pixels a side."""
        found = _plane(office, caller, task, number)
        data = office.thumbnail(found.item, found.id, number)
        return bytes_of(
            data, "image/png", name=_name(office, "context", found, number), match=request.headers.get("if-none-match")
        )

    return routes


def model_routes(office: Office) -> APIRouter:
    """``/tasks/{id}/prefill`` and ``uncertainty``."""
    routes = APIRouter(tags=["images"])

    @routes.get("/tasks/{task}/prefill", responses=said(403, 404, media=_RAW, note="uint8 classes of the box, gzip"))
    def prefill(task: Identifier, request: Request, caller: Call) -> Response:
        """What the model would draw; 404 where raters are to draw without it."""
        found = office.visible(caller.credential(), task)
        classes, _ = office.prefill(found)
        match = request.headers.get("if-none-match")
        return bytes_of(
            gzipped(classes.tobytes()), _RAW, name=_name(office, "prefill", found), match=match, packed=True
        )

    @routes.get("/tasks/{task}/uncertainty", responses=said(403, 404, media=_RAW, note="uint8 of the box, gzip"))
    def uncertainty(task: Identifier, request: Request, caller: Call) -> Response:
        """Where the model is unsure: 0 to 255 for 0 to the header X-Uncertainty-Max."""
        found = office.visible(caller.credential(), task)
        _, values = office.prefill(found)
        top = float(values.max())
        scaled = np.round(255 * np.clip(values / (top or 1.0), 0, 1)).astype(np.uint8)
        match = request.headers.get("if-none-match")
        return bytes_of(
            gzipped(scaled.tobytes()),
            _RAW,
            name=_name(office, "uncertainty", found),
            match=match,
            packed=True,
            headers={"X-Uncertainty-Max": f"{top:.6g}"},
        )

    return routes
