"""The cube: snapshot x GeoBox to pixels. Sensors, reading with retries, masks, composites."""
