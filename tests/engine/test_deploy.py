"""What deploy/ holds can be read, is pinned, and holds no secret; the SLURM script does as it says."""

import os
import re
import subprocess
import time

import pytest
from ruamel.yaml import YAML

from eopipe.spec import parse_spec, parse_yaml
from tests.support.paths import ROOT

DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def documents(path):
    return list(YAML(typ="safe", pure=True).load_all(path.read_text()))


def by_kind(path):
    return {document["kind"]: document for document in documents(path)}


def pods(node):
    """Every mapping that has containers, wherever it stands."""
    if isinstance(node, dict):
        if "containers" in node:
            yield node
        for value in node.values():
            yield from pods(value)
    elif isinstance(node, list):
        for value in node:
            yield from pods(value)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_named_pinned_unprivileged_and_without_secrets(path):
    for document in documents(path):
        assert {"apiVersion", "kind", "metadata"} <= set(document)
        assert document["kind"] != "Secret"
        for pod in pods(document):
            assert pod["securityContext"]["runAsNonRoot"] is True
            for container in pod["containers"]:
                assert re.search(r":\d+\.\d+\.\d+", container["image"])
                assert container["securityContext"]["allowPrivilegeEscalation"] is False
                assert "memory" in container["resources"]["limits"]
    assert not re.search(r"(?i)(secret_access_key|token|password): *['\"]?[a-z0-9/+]{12,}", path.read_text())


def test_the_cron_job_s_spec_is_a_valid_run_spec():
    manifests = by_kind(DEPLOY / "kubernetes" / "cronjob.yaml")
    spec = parse_spec(parse_yaml(manifests["ConfigMap"]["data"]["spec.yaml"], "spec.yaml"))
    assert spec.cluster.kind == "kubernetes"


def test_the_cron_job_tries_again_only_where_that_may_help():
    job = by_kind(DEPLOY / "kubernetes" / "cronjob.yaml")["CronJob"]["spec"]["jobTemplate"]["spec"]
    rule = next(rule for rule in job["podFailurePolicy"]["rules"] if rule["action"] == "FailJob")
    assert rule["onExitCodes"]["values"] == [1, 2, 3, 6]
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # which podFailurePolicy asks for


def test_the_standing_cluster_s_settings_are_the_engine_s():
    from eopipe.engine.cluster.protocol import scheduler_environment

    cluster = by_kind(DEPLOY / "kubernetes" / "dask-cluster.yaml")["DaskCluster"]["spec"]
    for role in ("scheduler", "worker"):
        container = cluster[role]["spec"]["containers"][0]
        assert {entry["name"]: entry["value"] for entry in container["env"]} == scheduler_environment()


def test_the_image_does_not_run_as_root():
    text = (DEPLOY / "docker" / "Dockerfile").read_text()
    assert re.search(r"^USER 1000$", text, re.MULTILINE)
    for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        assert re.search(r":\d+\.\d+\.\d+", image)


@pytest.fixture
def slurm(tmp_path):
    """Run the batch script with stand-ins for eopipe and scontrol."""

    def start(eopipe):
        tools = tmp_path / "bin"
        tools.mkdir()
        for name, text in {"eopipe": eopipe, "scontrol": f'echo "$@" >> {tmp_path}/scontrol.log'}.items():
            (tools / name).write_text(f"#!/bin/bash\n{text}\n")
            (tools / name).chmod(0o755)
        env = {
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "7",
            "EOPIPE_RETRY_SECONDS": "0",
        }
        script = DEPLOY / "slurm" / "eopipe.sbatch"
        return subprocess.Popen(["bash", str(script), "spec.yaml"], env=env)

    def log():
        path = tmp_path / "scontrol.log"
        return path.read_text() if path.exists() else ""

    start.log = log
    return start


@pytest.mark.parametrize(("status", "requeued"), [(0, ""), (2, ""), (3, ""), (4, "requeue 7\n")])
def test_the_batch_script_goes_by_the_exit_status(slurm, status, requeued):
    assert slurm(f"exit {status}").wait(20) == status
    assert slurm.log() == requeued


def test_the_batch_script_drains_and_requeues(slurm, tmp_path):
    ready = tmp_path / "ready"
    process = slurm(f'trap "sleep 0.3; exit 143" TERM; touch {ready}; while true; do sleep 0.1; done')
    while not ready.exists():
        time.sleep(0.02)
    process.terminate()
    assert process.wait(20) == 143
    assert slurm.log() == "requeue 7\n"
