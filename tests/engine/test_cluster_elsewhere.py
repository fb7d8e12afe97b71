"""The kinds whose libraries are not installed here: what they are asked for.

Each fake takes the parameters of the real one, copied from the release named beside it, so a
parameter that the library does not have fails here too.
"""

import contextlib
import inspect
import sys
from functools import partial
from types import ModuleType

import dask
import pytest
from distributed import Client, LocalCluster

from eopipe.engine import cluster as clusters
from eopipe.engine.cluster import open_cluster
from eopipe.errors import ClusterError, SpecError
from eopipe.spec import ClusterSpec


class FakeClient:
    """Stands in for distributed.Client: the fakes have no scheduler."""

    def __init__(self, calls):
        self.calls = calls

    def close(self):
        self.calls.append("client closed")


class FakeCluster(contextlib.AbstractContextManager):
    known = None  # parameters of the real one; None: any
    refuse = None

    def __init__(self, calls, **options):
        if self.refuse is not None:
            raise self.refuse
        if self.known is not None and (unknown := set(options) - self.known):
            raise TypeError(f"unexpected keyword arguments {unknown}")
        self.calls = calls
        self.worker_spec = {0: None, 1: None}
        calls.append(("start", options))
        calls.append(("settings", dask.config.get("distributed.scheduler.worker-saturation")))

    def scale(self, n=None, jobs=0):
        self.calls.append(("scale", n, jobs))

    def get_client(self, set_as_default=True):
        self.calls.append(("get_client", set_as_default))
        return FakeClient(self.calls)

    def __exit__(self, *_):
        self.calls.append("cluster closed")


@pytest.fixture
def calls(monkeypatch):
    """What the fakes were asked, in order."""
    recorded = []

    def client(cluster, *, set_as_default, timeout):
        recorded.append(("client", set_as_default, timeout))
        return FakeClient(recorded)

    monkeypatch.setattr(clusters.protocol, "Client", client)
    return recorded


def install(monkeypatch, name, **members):
    module = ModuleType(name)
    for key, value in members.items():
        setattr(module, key, value)
    parent = name.split(".")[0]
    if parent != name:
        package = ModuleType(parent)
        package.__path__ = []
        monkeypatch.setitem(sys.modules, parent, package)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def kubernetes(monkeypatch, calls):
    class KubeCluster(FakeCluster):  # dask-kubernetes 2026.3.0
        known = frozenset(
            [
                "name",
                "namespace",
                "image",
                "n_workers",
                "resources",
                "env",
                "worker_command",
                "port_forward_cluster_ip",
                "create_mode",
                "shutdown_on_close",
                "idle_timeout",
                "resource_timeout",
                "scheduler_service_type",
                "custom_cluster_spec",
                "scheduler_forward_port",
                "jupyter",
                "loop",
                "asynchronous",
                "quiet",
            ]
        )

    install(monkeypatch, "dask_kubernetes.operator", KubeCluster=partial(KubeCluster, calls))
    return KubeCluster


@pytest.fixture
def gateway(monkeypatch, calls):
    class GatewayCluster(FakeCluster):
        pass

    class Gateway(contextlib.AbstractContextManager):  # dask-gateway 2026.3.0
        def __init__(self, address=None, proxy_address=None, public_address=None, auth=None):
            calls.append(("gateway", address, proxy_address, public_address, auth))

        def new_cluster(self, cluster_options=None, shutdown_on_close=True, **kwargs):
            assert cluster_options is None
            return GatewayCluster(calls, shutdown_on_close=shutdown_on_close, **kwargs)

        def connect(self, cluster_name, shutdown_on_close=False):
            return GatewayCluster(calls, cluster_name=cluster_name, shutdown_on_close=shutdown_on_close)

        def __exit__(self, *_):
            calls.append("gateway closed")

    install(monkeypatch, "dask_gateway", Gateway=Gateway)
    return GatewayCluster


@pytest.fixture
def slurm(monkeypatch, calls):
    class SLURMCluster(FakeCluster):  # dask-jobqueue 0.9.0: JobQueueCluster, Job and SLURMJob together
        known = frozenset(
            [
                "n_workers",
                "job_cls",
                "loop",
                "security",
                "shared_temp_directory",
                "silence_logs",
                "name",
                "asynchronous",
                "scheduler_options",
                "scheduler_cls",
                "interface",
                "protocol",
                "config_name",
                "queue",
                "project",
                "account",
                "walltime",
                "job_cpu",
                "job_mem",
                "cores",
                "memory",
                "processes",
                "nanny",
                "death_timeout",
                "local_directory",
                "worker_command",
                "worker_extra_args",
                "job_extra_directives",
                "job_script_prologue",
                "job_directives_skip",
                "log_directory",
                "shebang",
                "python",
                "job_name",
            ]
        )

    install(monkeypatch, "dask_jobqueue", SLURMCluster=partial(SLURMCluster, calls))
    return SLURMCluster


@pytest.fixture
def cuda(monkeypatch, calls):
    class LocalCUDACluster(FakeCluster):  # dask-cuda 26.10.0; what it does not know goes to LocalCluster
        known = frozenset(
            [
                "CUDA_VISIBLE_DEVICES",
                "n_workers",
                "threads_per_worker",
                "memory_limit",
                "device_memory_limit",
                "enable_cudf_spill",
                "cudf_spill_stats",
                "local_directory",
                "protocol",
                "rmm_pool_size",
                "rmm_managed_memory",
                "rmm_async",
                "log_spilling",
                "pre_import",
                "data",
            ]
        ) | set(inspect.signature(LocalCluster.__init__).parameters)

    install(monkeypatch, "dask_cuda", LocalCUDACluster=partial(LocalCUDACluster, calls))
    return LocalCUDACluster


def start_of(calls):
    return next(call[1] for call in calls if call[0] == "start")


def test_kubernetes(kubernetes, calls):
    spec = ClusterSpec(
        kind="kubernetes", workers=8, memory="4Gi", options={"image": "map:1", "env": {"A": "1"}, "name": "n"}
    )
    with open_cluster(spec) as handle:
        assert (handle.kind, handle.owned, handle.workers) == ("kubernetes", True, 8)
    arguments = start_of(calls)
    env = arguments.pop("env")
    assert arguments == {
        "name": "n",
        "image": "map:1",
        "n_workers": 8,
        "quiet": True,
        "worker_command": ["dask", "worker", "--nthreads", "1"],
        "resources": {"requests": {"memory": "4Gi"}, "limits": {"memory": "4Gi"}},
    }
    assert env["A"] == "1"
    assert env["DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION"] == "1.0"
    assert env["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] == "3"
    assert env["DASK_DISTRIBUTED__WORKER__MEMORY__SPILL"] == "False"
    assert calls[-2:] == ["client closed", "cluster closed"]


def test_kubernetes_keeps_a_list_of_variables_with_their_secrets(kubernetes, calls):
    secret = {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": {"secretKeyRef": {"name": "s3", "key": "secret"}}}
    setting = {"name": "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "value": "9"}
    with open_cluster(ClusterSpec(kind="kubernetes", options={"env": [secret, setting]})):
        pass
    env = start_of(calls)["env"]
    assert secret in env
    assert [entry["value"] for entry in env if entry["name"] == setting["name"]] == ["9"]


def test_the_environment_means_to_dask_what_the_settings_say(monkeypatch):
    from eopipe.engine.cluster import protocol

    settings = dask.config.collect_env(protocol.scheduler_environment())
    for key, value in {**protocol.scheduler_settings(), **protocol.worker_settings()}.items():
        assert dask.config.get(key, config=dask.config.update({}, settings)) == value


def test_gateway(gateway, calls):
    spec = ClusterSpec(
        kind="gateway", workers=4, address="https://hub/gw", options={"auth": "jupyterhub", "worker_memory": 4}
    )
    with open_cluster(spec) as handle:
        assert (handle.kind, handle.owned) == ("gateway", True)
    assert ("gateway", "https://hub/gw", None, None, "jupyterhub") in calls
    assert start_of(calls) == {"shutdown_on_close": True, "worker_memory": 4}
    assert ("scale", 4, 0) in calls
    assert ("get_client", False) in calls
    assert calls[-3:] == ["client closed", "cluster closed", "gateway closed"]


def test_gateway_leaves_a_cluster_that_was_there(gateway, calls):
    with open_cluster(ClusterSpec(kind="gateway", options={"cluster_name": "mine"})) as handle:
        assert not handle.owned
    assert start_of(calls) == {"cluster_name": "mine", "shutdown_on_close": False}
    spec = ClusterSpec(kind="gateway", options={"cluster_name": "mine", "image": "x"})
    with pytest.raises(SpecError, match="image cannot be given for the existing cluster 'mine'"), open_cluster(spec):
        pass


def test_gateway_cannot_be_asked_for_memory(gateway):
    with pytest.raises(SpecError, match="worker_memory"), open_cluster(ClusterSpec(kind="gateway", memory="4GB")):
        pass


def test_slurm(slurm, calls):
    spec = ClusterSpec(
        kind="slurm",
        workers=16,
        memory="8GB",
        options={"queue": "short", "job_script_prologue": ["module load gdal"], "scheduler_options": {"port": 1}},
    )
    with open_cluster(spec) as handle:
        assert (handle.kind, handle.owned, handle.workers) == ("slurm", True, 16)
    arguments = start_of(calls)
    prologue = arguments.pop("job_script_prologue")
    assert arguments == {
        "cores": 1,
        "processes": 1,
        "memory": "8GB",
        "queue": "short",
        "scheduler_options": {"dashboard_address": ":0", "port": 1},
    }
    assert prologue[-1] == "module load gdal"
    assert "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False" in prologue
    assert ("settings", 1.0) in calls
    assert ("scale", None, 16) in calls
    assert calls[-2:] == ["client closed", "cluster closed"]


def test_cuda(cuda, calls):
    with open_cluster(ClusterSpec(kind="cuda", workers=2, options={"CUDA_VISIBLE_DEVICES": "0,1"})) as handle:
        assert (handle.kind, handle.owned, handle.workers) == ("cuda", True, 2)
    arguments = start_of(calls)
    assert arguments.pop("local_directory")
    assert arguments == {
        "n_workers": 2,
        "threads_per_worker": 1,
        "memory_limit": "auto",
        "data": dict,
        "processes": True,
        "dashboard_address": "127.0.0.1:0",
        "silence_logs": 40,
        "CUDA_VISIBLE_DEVICES": "0,1",
    }
    assert ("settings", 1.0) in calls


@pytest.mark.parametrize(
    ("kind", "module", "extra"),
    [
        ("cuda", "dask_cuda", "cuda"),
        ("kubernetes", "dask_kubernetes", "kubernetes"),
        ("gateway", "dask_gateway", "gateway"),
        ("slurm", "dask_jobqueue", "slurm"),
    ],
)
def test_a_missing_library_is_named_with_its_remedy(kind, module, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    message = rf"needs {module}.*pip install 'eopipe\[{extra}\]'"
    with pytest.raises(SpecError, match=message) as refused, open_cluster(ClusterSpec(kind=kind)):
        pass
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ["cuda", "kubernetes", "gateway", "slurm"])
@pytest.mark.parametrize(
    ("error", "becomes", "message"),
    [
        (ValueError("You must specify\nhow much"), SpecError, "refuses them: You must specify how much"),
        (ConnectionError("no route"), ClusterError, "cannot be had: ConnectionError: no route"),
    ],
)
def test_what_a_library_refuses_is_one_line(kind, error, becomes, message, request):
    request.getfixturevalue(kind).refuse = error
    with pytest.raises(becomes, match=message), open_cluster(ClusterSpec(kind=kind)):
        pass


def test_local_asks_only_what_local_cluster_takes():
    known = inspect.signature(LocalCluster.__init__).parameters
    assert {"n_workers", "threads_per_worker", "processes", "dashboard_address", "silence_logs"} <= set(known)
    assert {"timeout", "set_as_default"} <= set(inspect.signature(Client.__init__).parameters)
