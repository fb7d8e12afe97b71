"""Small STAC documents of labelled sets."""

import json


def item(name, assets):
    return {
        "type": "Feature", "stac_version": "1.1.0", "id": name, "geometry": None, "bbox": None, "links": [],
        "properties": {"datetime": "2020-01-01T00:00:00Z"}, "assets": assets,
    }  # fmt: skip


def collection(folder, items):
    links = []
    for document in items:
        (folder / f"{document['id']}.json").write_text(json.dumps(document))
        links.append({"rel": "item", "href": f"./{document['id']}.json"})
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
    (folder / "collection.json").write_text(
        json.dumps(
            {"type": "Collection", "stac_version": "1.1.0", "id": "set", "description": "x", "license": "other",
             "extent": extent, "links": links}
        )
    )  # fmt: skip
    return str(folder / "collection.json")
