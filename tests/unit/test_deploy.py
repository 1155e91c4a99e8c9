"""What stands in deploy/: rendered by a real kubectl, known to Kubernetes, restricted, of one mind with the code."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube import codecs

from receiver.cli.serve import STOP_TIMEOUT_S, address, open_door
from receiver.config.load import check
from receiver.destinations.registry import ALL
from receiver.kube.account import ACCOUNT
from receiver.kube.rights import NAMESPACES, REVIEW, RIGHTS
from receiver.metrics import Metrics
from receiver.web.openapi_operations import OPERATIONS
from receiver.work import DRAIN_S
from tests.servers import need
from tests.unit.test_docs_monitoring import coded, rows

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
FETCHED = ROOT / ".cache" / "kubectl"
PLATFORMS, DATABASES = ("openshift", "kubernetes"), ("sqlite", "postgresql")
WHOLE = [f"{platform}/{database}" for platform, database in product(PLATFORMS, DATABASES)]
COMPONENTS = sorted(path.name for path in (DEPLOY / "components").iterdir())
OPTIONAL = sorted({*COMPONENTS} - {*DATABASES, "monitoring"})
RENDERED = [*WHOLE, "rights", *(f"components/{name}" for name in OPTIONAL)]
OPERATOR = "monitoring.coreos.com/"
ME = {"kind": "ServiceAccount", "name": "mtv-receiver", "namespace": "mtv-receiver"}
INSTALL = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")

Thing = dict[str, Any]
Right = tuple[str, str, str]  # verb, group, resource


def fetched() -> Path:
    """Return the kubectl that was fetched; a test without it is skipped, and fails with CI=true."""
    program = FETCHED / "bin" / "kubectl"
    if not program.exists():
        sentence = "there is no kubectl in .cache: this test renders with it; run make kubectl."
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(sentence)
        pytest.skip(sentence)
    return program


def render(folder: Path) -> list[Thing]:
    done = subprocess.run([fetched(), "kustomize", folder], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of deploy/, beside which a folder of one's own may stand."""
    return Path(shutil.copytree(DEPLOY, tmp_path_factory.mktemp("work") / "deploy"))


@pytest.fixture(scope="module")
def objects(copied: Path) -> Any:
    @functools.cache
    def of(name: str) -> list[Thing]:
        """Return what an overlay renders; of a component, what it makes of a whole."""
        if not name.startswith("components/"):
            return render(copied / name)
        own = copied.parent / name.replace("/", "-")
        own.mkdir()
        kustomization = {"resources": ["../deploy/openshift/sqlite"], "components": [f"../deploy/{name}"]}
        (own / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return render(own)

    return of


def one(things: list[Thing], kind: str, name: str = "mtv-receiver") -> Thing:
    (found,) = (thing for thing in things if thing["kind"] == kind and thing["metadata"]["name"] == name)
    return found


def every(things: list[Thing], kind: str) -> list[Thing]:
    return [thing for thing in things if thing["kind"] == kind]


def pod(things: list[Thing]) -> Thing:
    spec = one(things, "Deployment")["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def container(things: list[Thing]) -> Thing:
    (only,) = pod(things)["containers"]
    assert isinstance(only, dict)
    return only


def test_every_kustomization_is_rendered_by_these_tests() -> None:
    folders = {str(path.parent.relative_to(DEPLOY)) for path in DEPLOY.rglob("kustomization.yaml")}
    used = {"base", *(f"{platform}/common" for platform in PLATFORMS), *(f"components/{name}" for name in COMPONENTS)}
    assert folders == {*RENDERED, *used}
    assert {"monitoring", *DATABASES} < {*COMPONENTS}


@pytest.mark.parametrize("script", [".ci/kubectl"])
def test_the_script_that_fetches_is_executable_and_stops_at_the_first_error(script: str) -> None:
    assert (ROOT / script).stat().st_mode & 0o111
    assert "\nset -euo pipefail\n" in (ROOT / script).read_text()


@pytest.mark.parametrize("name", RENDERED)
def test_kubernetes_knows_every_object_with_every_key(name: str, objects: Any) -> None:
    things = objects(name)
    known = [thing for thing in things if not thing["apiVersion"].startswith(OPERATOR)]
    assert known
    for thing in known:
        # Wrong types raise; what a model does not know is not in what it gives back.
        assert codecs.from_dict(thing).to_dict() == thing


VALIDATE = """
import json, sys
from cloudcoil.models.prometheus_operator import v1, v1alpha1

def complaint(thing):
    model = getattr(v1, thing["kind"], None) or getattr(v1alpha1, thing["kind"])
    # Its schema of AlertmanagerConfig is v1alpha1; the fields in use are the same ones in v1beta1.
    thing = {**thing, "apiVersion": model.model_fields["api_version"].default}
    try:
        loaded = model.model_validate(thing)
    except ValueError as error:
        return str(error)
    known = json.loads(loaded.model_dump_json(by_alias=True, exclude_unset=True))
    return "" if known == thing else f"has keys that nobody knows: {thing}, known: {known}"

json.dump([complaint(thing) for thing in json.load(sys.stdin)], sys.stdout)
"""


def complaints(things: list[Thing]) -> list[str]:
    """Return what the Prometheus Operator's schemas say of each; in a process of its own: they bring packages."""
    fetched()
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(FETCHED)!r})\n{VALIDATE}"],
        input=json.dumps(things), capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return list(json.loads(done.stdout))


def test_the_prometheus_operator_knows_every_object_with_every_key(objects: Any) -> None:
    things = [thing for name in RENDERED for thing in objects(name) if thing["apiVersion"].startswith(OPERATOR)]
    assert {thing["kind"] for thing in things} == {"ServiceMonitor", "PrometheusRule"}
    things = list({json.dumps(thing): thing for thing in things}.values())
    config = yaml.safe_load((DEPLOY / "fragments" / "alertmanagerconfig.yaml").read_text())
    assert config["kind"] == "AlertmanagerConfig"
    rule = {"kind": "PrometheusRule", "metadata": {"name": "a"}}
    good = {**rule, "spec": {"groups": [{"name": "a", "rules": []}]}}
    unknown = {**rule, "spec": {"groups": [{"name": "a", "rulez": []}]}}
    lacking = {**rule, "spec": {"groups": [{"rules": []}]}}
    *shipped, unknown_said, lacking_said = complaints([*things, config, good, unknown, lacking])
    assert [said for said in shipped if said] == []
    assert "nobody knows" in unknown_said
    assert "name" in lacking_said


@pytest.mark.parametrize("name", WHOLE)
def test_pods_fit_the_restricted_profile(name: str, objects: Any) -> None:
    things = objects(name)
    spec = pod(things)
    assert one(things, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys()
    assert all(volume.keys() - {"name"} <= {"secret", "configMap", "emptyDir", "persistentVolumeClaim"}
               for volume in spec["volumes"])  # fmt: skip
    own = container(things)
    assert own["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert not any("hostPort" in port for port in own["ports"])
    # The number of the user is the image's, or the namespace's: never ours.
    numbers = {"runAsUser", "runAsGroup", "supplementalGroups"}
    assert not numbers & (spec["securityContext"].keys() | own["securityContext"].keys())
    assert ("fsGroup" in spec["securityContext"]) == name.startswith("kubernetes")
    mounts = {mount["mountPath"]: mount for mount in own["volumeMounts"]}
    writable = {path for path, mount in mounts.items() if not mount.get("readOnly")}
    assert writable == ({"/tmp", "/data"} if name.endswith("sqlite") else {"/tmp"})
    assert not any("subPath" in mount for mount in mounts.values())
    assert {mount["name"] for mount in own["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize("name", WHOLE)
def test_an_image_is_named_by_its_digest(name: str, objects: Any) -> None:
    assert re.fullmatch(r"registry\.example\.com/mtv-receiver@sha256:[0-9a-f]{64}", container(objects(name))["image"])


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_requested_covers_what_was_measured(name: str, objects: Any) -> None:
    resources = container(objects(name))["resources"]
    measured = (ROOT / "docs" / "performance.md").read_text()
    idle = re.search(r"Resident memory while idle .*?\| (\d+) MB", measured)
    storm = re.search(r"2,000 webhooks.*, (\d+) MB \| met", measured)
    assert idle
    assert storm
    assert resources["requests"]["memory"] == "192Mi"
    assert max(int(idle[1]), int(storm[1])) * 10**6 < 192 * 2**20
    assert resources["limits"]["memory"] == "1Gi"
    assert "cpu" not in resources["limits"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_with_sqlite_one_pod_owns_the_volume(platform: str, objects: Any) -> None:
    things = objects(f"{platform}/sqlite")
    spec = one(things, "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    (claim,) = every(things, "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert {"persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}, "name": "data"} in pod(things)["volumes"]
    assert {"name": "MTV_RECEIVER_DATA", "value": "/data"} in container(things)["env"]
    assert every(things, "PodDisruptionBudget") == []


@pytest.mark.parametrize("platform", PLATFORMS)
def test_with_postgresql_three_pods_stand_apart(platform: str, objects: Any) -> None:
    things = objects(f"{platform}/postgresql")
    deployment = one(things, "Deployment")["spec"]
    assert deployment["replicas"] == 3
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    budget = one(things, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    labels = deployment["template"]["metadata"]["labels"]
    spread = pod(things)["topologySpreadConstraints"]
    assert {one["topologyKey"] for one in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    for selector in (deployment["selector"], budget["selector"], *(one["labelSelector"] for one in spread)):
        assert selector["matchLabels"].items() <= labels.items()
    assert every(things, "PersistentVolumeClaim") == []
    (url,) = (each for each in container(things)["env"] if each["name"] == "MTV_RECEIVER_DATABASE_URL")
    assert url["valueFrom"] == {"secretKeyRef": {"name": "mtv-receiver-database", "key": "url"}}
    secret = yaml.safe_load_all((DEPLOY / "fragments" / "secrets.yaml").read_text())
    assert {"url", "ca.crt"} == one(list(secret), "Secret", "mtv-receiver-database")["stringData"].keys()


@pytest.mark.parametrize("name", WHOLE)
def test_ports_and_probes_are_those_of_the_service(name: str, objects: Any) -> None:
    things = objects(name)
    own = container(things)
    env = {each["name"]: each.get("value") for each in own["env"]}
    (exposed,) = re.findall(r"^EXPOSE (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    host, port = address(env["MTV_RECEIVER_LISTEN"])
    assert (host, port) == ("0.0.0.0", int(exposed))
    assert own["ports"] == [{"name": "web", "containerPort": port}]
    (service,) = one(things, "Service")["spec"]["ports"]
    assert (service["name"], service["port"], service["targetPort"]) == ("web", port, "web")
    (rule,) = one(things, "NetworkPolicy")["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": port}]
    assert rule["from"]
    (monitor,) = one(things, "ServiceMonitor")["spec"]["endpoints"]
    probes = {kind: own[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
    assert {kind: probe["path"] for kind, probe in probes.items()} == {
        "startup": "/-/healthy", "readiness": "/-/ready", "liveness": "/-/healthy",
    }  # fmt: skip
    for path in (monitor["path"], *(probe["path"] for probe in probes.values())):
        assert (path, "GET") in OPERATIONS
    # TLS is on where routes.yaml says so, and everybody who connects knows.
    tls = "tls_server_config" in settings(things)["web"]
    assert tls == name.startswith("openshift")
    assert monitor["port"] == "web"
    assert monitor["scheme"] == ("https" if tls else "http")
    assert {probe.get("scheme", "HTTP") for probe in probes.values()} == {"HTTPS" if tls else "HTTP"}
    assert all(probe["port"] == "web" for probe in probes.values())


def settings(things: list[Thing]) -> Thing:
    loaded = yaml.safe_load(one(things, "ConfigMap", "mtv-receiver-config")["data"]["routes.yaml"])
    assert isinstance(loaded, dict)
    return loaded


def test_openshift_signs_the_certificate_that_is_served(objects: Any) -> None:
    for name in ("openshift/sqlite", "openshift/postgresql"):
        things = objects(name)
        secret = one(things, "Service")["metadata"]["annotations"]["service.beta.openshift.io/serving-cert-secret-name"]
        (volume,) = (each for each in pod(things)["volumes"] if each.get("secret", {}).get("secretName") == secret)
        (mount,) = (each for each in container(things)["volumeMounts"] if each["name"] == volume["name"])
        tls = settings(things)["web"]["tls_server_config"]
        assert tls == {"cert_file": f"{mount['mountPath']}/tls.crt", "key_file": f"{mount['mountPath']}/tls.key"}
        (monitor,) = one(things, "ServiceMonitor")["spec"]["endpoints"]
        service = one(things, "Service")["metadata"]
        assert monitor["tlsConfig"]["serverName"] == f"{service['name']}.{service['namespace']}.svc"


def test_a_stop_has_the_time_that_the_service_takes() -> None:
    deployment = yaml.safe_load((DEPLOY / "base" / "deployment.yaml").read_text())
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= STOP_TIMEOUT_S + 2 * DRAIN_S + 5


def files(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.endswith("_file"):
                yield from [inner] if isinstance(inner, str) else inner
            else:
                yield from files(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from files(inner)


@pytest.mark.parametrize("name", WHOLE)
def test_every_file_of_routes_yaml_is_mounted_and_its_secret_has_a_template(name: str, objects: Any) -> None:
    things = objects(name)
    mounts = {mount["mountPath"] for mount in container(things)["volumeMounts"]}
    named = list(files(settings(things)))
    assert named
    assert all(str(Path(path).parent) in {*mounts, str(ACCOUNT)} for path in named)
    templates = list(yaml.safe_load_all((DEPLOY / "fragments" / "secrets.yaml").read_text()))
    keys = {Path(path).name for path in named if path.startswith("/etc/mtv-receiver/secrets/")}
    assert one(templates, "Secret", "mtv-receiver-secrets")["stringData"].keys() == keys


@pytest.mark.parametrize("name", WHOLE)
def test_routes_yaml_is_good_and_leaves_no_door_open(name: str, objects: Any, tmp_path: Path) -> None:
    text = one(objects(name), "ConfigMap", "mtv-receiver-config")["data"]["routes.yaml"]
    for path in {*files(yaml.safe_load(text))}:
        text = text.replace(path, str(tmp_path / Path(path).name))
        (tmp_path / Path(path).name).write_text("x")
    (tmp_path / "routes.yaml").write_text(text)
    config, problems = check(tmp_path / "routes.yaml", ALL)
    assert [str(problem) for problem in problems] == []
    assert config is not None
    assert open_door(config, "0.0.0.0") == ""


def grants(role: Thing) -> list[Right]:
    return [grant for rule in role["rules"] for grant in product(rule["verbs"], rule["apiGroups"], rule["resources"])]


PLATFORM = {"cluster-monitoring-view"}
"""ClusterRoles that OpenShift brings along."""


def granted(things: list[Thing], kind: str = "ClusterRoleBinding") -> list[Right]:
    """Return what the service's account may do by bindings of a kind."""
    found: list[Right] = []
    for binding in every(things, kind):
        assert binding["subjects"] == [ME]
        if binding["roleRef"]["kind"] == "ClusterRole" and binding["roleRef"]["name"] not in PLATFORM:
            found += grants(one(things, "ClusterRole", binding["roleRef"]["name"]))
    return sorted(found)


TABLE = sorted((right.verb, right.group, right.resource) for right in RIGHTS)
LOGS = ("get", "", "pods/log")


@pytest.mark.parametrize("name", [*WHOLE, "rights"])
def test_the_account_may_do_what_the_table_of_rights_says_and_nothing_else(name: str, objects: Any) -> None:
    things = objects(name)
    assert granted(things) == TABLE
    assert granted(things, "RoleBinding") == []
    assert one(things, "ServiceAccount")["metadata"]["namespace"] == "mtv-receiver"
    if name != "rights":
        assert pod(things)["serviceAccountName"] == "mtv-receiver"
        assert pod(things)["automountServiceAccountToken"] is True


def test_options_add_and_take_away_what_they_say(objects: Any) -> None:
    review = (REVIEW.verb, REVIEW.group, REVIEW.resource)
    assert granted(objects("components/access-reviews")) == sorted([*TABLE, review])
    more = {(right.verb, right.group, right.resource) for right in NAMESPACES}
    assert {*granted(objects("components/namespace-routing"))} == {*TABLE, *more}
    things = objects("components/namespaced-logs")
    assert granted(things) == [right for right in TABLE if right != LOGS]
    assert granted(things, "RoleBinding") == [LOGS]


def test_alertmanager_is_read_by_the_account_and_silenced_only_with_the_option(objects: Any) -> None:
    def roles(name: str) -> set[str]:
        bindings = every(objects(name), "RoleBinding")
        assert all(each["metadata"]["namespace"] == "openshift-monitoring" for each in bindings)
        return {each["roleRef"]["name"] for each in bindings}

    assert roles("openshift/sqlite") == {"monitoring-alertmanager-view"}
    assert roles("components/silences") == {"monitoring-alertmanager-view", "monitoring-alertmanager-edit"}
    assert roles("kubernetes/sqlite") == set()
    (asked,) = settings(objects("openshift/sqlite"))["alertmanagers"]
    assert asked["url"] == "https://alertmanager-main.openshift-monitoring.svc:9094"
    assert asked["http_config"]["authorization"]["credentials_file"] == str(ACCOUNT / "token")


def test_the_doctor_asks_the_platforms_prometheus_and_may(objects: Any) -> None:
    def bound(name: str) -> set[str]:
        return {each["roleRef"]["name"] for each in every(objects(name), "ClusterRoleBinding")} & PLATFORM

    for database in DATABASES:
        assert bound(f"openshift/{database}") == {"cluster-monitoring-view"}
        assert bound(f"kubernetes/{database}") == set()
    assert bound("rights") == set(), "further clusters are not asked: there is one doctor.prometheus"
    doctor = settings(objects("openshift/sqlite"))["doctor"]
    assert doctor["every"] == "10m"
    # The port of the proxy that lets in who has that role; 9092 behind it has /metrics only.
    assert doctor["prometheus"]["url"] == "https://prometheus-k8s.openshift-monitoring.svc:9091"
    page = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    (shown,) = (part for part in re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    assert yaml.safe_load(shown)["doctor"] == {**doctor, "receiver": "platform"}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_port_that_routes_yaml_calls_is_on_the_page(platform: str, objects: Any) -> None:
    loaded = settings(objects(f"{platform}/sqlite"))
    table = INSTALL[INSTALL.index("## Network") :].partition("\n## ")[0]
    for title, one_of in (
        ("Alertmanagers", loaded["alertmanagers"][0]),
        ("Prometheus", loaded["doctor"]["prometheus"]),
    ):
        (row,) = re.findall(rf"^\| {title} \| (.*?) \|", table, re.MULTILINE)
        assert one_of["url"].rpartition(":")[2] in re.findall(r"\d+", row)
    policies = every(objects(f"{platform}/sqlite"), "NetworkPolicy")
    assert all(policy["spec"]["policyTypes"] == ["Ingress"] for policy in policies)


def test_no_secret_with_values_is_shipped(objects: Any) -> None:
    assert all(every(objects(name), "Secret") == [] for name in RENDERED)
    for secret in yaml.safe_load_all((DEPLOY / "fragments" / "secrets.yaml").read_text()):
        assert codecs.from_dict(secret).to_dict() == secret
        assert set(secret["stringData"].values()) == {""}


# Alertmanager


@pytest.mark.parametrize("name", ["alertmanager-main", "acm-alertmanager-config"])
def test_a_part_for_alertmanager_is_a_configuration(name: str) -> None:
    file = DEPLOY / "fragments" / f"{name}.yaml"
    command = [need("amtool", "prometheus-alertmanager"), "check-config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    (own,) = (each for each in yaml.safe_load(file.read_text())["receivers"] if each["name"] == "mtv-receiver")
    (hook,) = own["webhook_configs"]
    assert hook["http_config"]["follow_redirects"] is False
    assert (hook["send_resolved"], hook["max_alerts"]) == (True, 0)
    assert hook["url"].startswith("https://mtv-receiver.mtv-receiver.svc:9095/webhook/")


@pytest.mark.parametrize(
    ("alert", "receivers"),
    [
        ("MigrationFailed", "mtv-receiver"),
        ("MigrationSucceeded", "mtv-receiver"),
        ("MTVPlanFailed", "mtv-receiver"),
        ("MTVReceiverDown", "Default"),
        ("Watchdog", "mtv-receiver,Watchdog"),
        ("KubeNodeNotReady", "Default"),
    ],
)
def test_alerts_go_where_they_should(alert: str, receivers: str) -> None:
    file = DEPLOY / "fragments" / "alertmanager-main.yaml"
    command = [need("amtool", "prometheus-alertmanager"), "config", "routes", "test", f"--config.file={file}"]
    command += [f"--verify.receivers={receivers}", f"alertname={alert}", "namespace=openshift-mtv"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


# Prometheus


def promtool(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        [need("promtool", "prometheus"), *words], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


def test_promtool_takes_every_rule(objects: Any, tmp_path: Path) -> None:
    rules = every(objects("components/plan-failed-rule"), "PrometheusRule")
    assert {rule["metadata"]["name"] for rule in rules} == {"mtv-receiver", "mtv-plan-failed"}
    for rule in rules:
        (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]))
        code, said = promtool("check", "rules", "--lint-fatal", str(tmp_path / "rules.yaml"))
        assert code == 0, said


PLAN = yaml.safe_load((DEPLOY / "components" / "plan-failed-rule" / "prometheusrule.yaml").read_text())
OWNERS = yaml.safe_load((DEPLOY / "fragments" / "kube-state-metrics.yaml").read_text())


def test_a_failed_plan_is_told_with_its_owner_where_that_is_known_and_without_where_not(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(PLAN["spec"]))
    given = {
        'mtv_plan_alert_status{status="Failed",plan="u1",plan_name="erp",pod="a"}': "1x9",
        'mtv_plan_alert_status{status="Failed",plan="u2",plan_name="crm",pod="a"}': "1x9",
        'mtv_plan_alert_status{status="Succeeded",plan="u3",plan_name="web",pod="a"}': "1x9",
        'mtv_plan_owner_info{plan="u1",plan_namespace="mig",target_namespace="erp-prod",owner="erp",pod="k"}': "1x9",
        'mtv_plan_owner_info{plan="u3",plan_namespace="mig",target_namespace="web",owner="web",pod="k"}': "1x9",
    }
    always = 'alertname="MTVPlanFailed",alertstate="firing",severity="critical",status="Failed",pod="a"'
    wanted = [
        f'ALERTS{{{always},plan="u1",plan_name="erp",plan_namespace="mig",target_namespace="erp-prod",owner="erp"}}',
        f'ALERTS{{{always},plan="u2",plan_name="crm"}}',
    ]
    asked = {"expr": "ALERTS", "eval_time": "5m", "exp_samples": [{"labels": one, "value": 1} for one in wanted]}
    series = [{"series": name, "values": values} for name, values in given.items()]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": [asked]}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": [test]}))
    code, said = promtool("test", "rules", str(tmp_path / "tests.yaml"))
    assert code == 0, said


def test_the_owner_is_called_as_kube_state_metrics_is_told_to_call_it() -> None:
    (plans,) = OWNERS["spec"]["resources"]
    (metric,) = plans["metrics"]
    (rule,) = PLAN["spec"]["groups"][0]["rules"]
    assert f"({plans['metricNamePrefix']}_{metric['name']})" in rule["expr"]
    joined = re.search(r"max by \(([^)]*)\)", rule["expr"])
    assert joined
    assert joined[1].split(", ") == list(metric["each"]["info"]["labelsFromPath"])
    assert (ROOT / "docs" / "runbooks" / f"{rule['alert']}.md").exists()


DASHBOARD = json.loads((DEPLOY / "components" / "dashboard" / "mtv-receiver.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ASKED = [target["expr"] for panel in PANELS for target in panel["targets"]]


def test_the_dashboard_asks_for_metrics_and_labels_that_there_are() -> None:
    metrics = Metrics(["slack"], ["local"])
    for series in (metrics.reconciled_at, metrics.reconcile_failures):
        series.labels("main")
    metrics.reconciled.labels("main", "opened")
    metrics.failed_plans.labels("disk-full")
    known = {sample.name: {*sample.labels} for family in metrics.registry.collect() for sample in family.samples}
    # Forklift's are those of the guide, which has its labels, too.
    known |= {name: {*coded(line[2])} for name, line in rows("### Metrics of Forklift").items()}
    for expression in ASKED:
        asked = re.findall(r"(mtv_\w+)(?:\{([^}]*)\})?", expression)
        assert asked, expression
        for name, matchers in asked:
            assert matchers or not name.startswith("mtv_receiver_"), "which job?"
            assert name in known, expression
            assert {*re.findall(r"(\w+)(?:=|!=)", matchers)} <= known[name] | {"job"}, expression
            for by in re.findall(r"by \(([^)]*)\)", expression):
                assert {*by.split(", ")} <= known[name], expression


def test_the_dashboard_shows_what_was_asked_for_and_each_panel_says_what_it_is() -> None:
    shown = " ".join(ASKED)
    for metric in ("attempts_total", "deliveries", "attempt_seconds_bucket", "inbox_backlog", "store_used_bytes"):
        assert f"mtv_receiver_{metric}{{" in shown
    assert all(panel["title"] and panel["description"] for panel in PANELS)
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len({*numbers}) == len(numbers)
    for row in {panel["gridPos"]["y"] for panel in PANELS}:
        assert sum(panel["gridPos"]["w"] for panel in PANELS if panel["gridPos"]["y"] == row) == 24


def test_migrations_are_shown_over_time_as_the_guide_says() -> None:
    shown = {panel["title"]: panel["targets"][0]["expr"] for panel in PANELS}
    forklifts = {title: query for title, query in shown.items() if "mtv_receiver_" not in query}
    assert list(forklifts) == ["Success rate of migrations", "Migrations that ended, by result"]
    guide = rows("### Dashboard")
    assert {title: coded(guide[title][1])[0] for title in forklifts} == forklifts


@pytest.mark.parametrize(
    ("failed", "succeeded", "canceled", "rate"),
    [("2+1x24", "8+3x24", "0+5x24", 0.75), ("0x24", "8+3x24", "0x24", 1), ("2+1x24", None, "0x24", 0),
     (None, "1+1x24", None, 1), ("2x24", "8x24", "0+1x24", None)],
)  # fmt: skip
def test_the_success_rate_is_that_of_the_runs_of_a_day(
    failed: str | None, succeeded: str | None, canceled: str | None, rate: float | None, tmp_path: Path
) -> None:
    (query,) = (panel["targets"][0]["expr"] for panel in PANELS if panel["title"] == "Success rate of migrations")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": []}))
    ended = {"Failed": failed, "Succeeded": succeeded, "Canceled": canceled}
    series = [
        {"series": f'mtv_migrations_status_total{{status="{status}",provider="vsphere"}}', "values": values}
        for status, values in ended.items()
        if values is not None
    ]
    wanted = [] if rate is None else [{"labels": "{}", "value": rate}]
    test = {
        "interval": "1h",
        "input_series": series,
        "promql_expr_test": [{"expr": query, "eval_time": "24h", "exp_samples": wanted}],
    }
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": [test]}))
    code, said = promtool("test", "rules", str(tmp_path / "tests.yaml"))
    assert code == 0, said


def test_promtool_takes_every_query_of_the_dashboard(tmp_path: Path) -> None:
    plain = [one.replace("$__rate_interval", "5m").replace("$job", ".*") for one in ASKED]
    rules = [{"record": f"a:b{at}", "expr": expression} for at, expression in enumerate(plain)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    code, said = promtool("check", "rules", str(tmp_path / "rules.yaml"))
    assert code == 0, said


def test_the_dashboard_is_found_by_grafana(objects: Any) -> None:
    shipped = one(objects("components/dashboard"), "ConfigMap", "mtv-receiver-dashboard")
    assert shipped["metadata"]["labels"] == {"grafana_dashboard": "1"}
    assert json.loads(shipped["data"]["mtv-receiver.json"]) == DASHBOARD


# The page


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", INSTALL, re.MULTILINE | re.DOTALL)


def test_the_overlay_of_the_page_can_be_rendered(copied: Path) -> None:
    (text,) = (block for block in blocks("yaml") if block.startswith("# site/kustomization.yaml"))
    site = copied.parent / "site"
    site.mkdir()
    (site / "kustomization.yaml").write_text(text)
    (site / "routes.yaml").write_text("mine: true\n")
    things = render(site)
    assert container(things)["image"].startswith("quay.example.com/migrations/mtv-receiver@sha256:")
    assert settings(things) == {"mine": True}
    assert one(things, "PersistentVolumeClaim", "mtv-receiver-data")["spec"]["storageClassName"] == "fast"
    one(things, "ConfigMap", "mtv-receiver-dashboard")


def test_the_overlay_of_the_page_is_checked_and_shown_by_its_commands(tmp_path: Path) -> None:
    (text,) = (block for block in blocks("yaml") if block.startswith("# site/kustomization.yaml"))
    (commands,) = (block for block in blocks("sh") if "kubectl kustomize site" in block)
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "kustomization.yaml").write_text(text)
    shutil.copy(DEPLOY / "openshift" / "common" / "routes.yaml", tmp_path / "site")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    done = subprocess.run(
        ["bash", "-euc", commands], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PATH": f"{fetched().parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    checked, _, shown = done.stdout.partition("\napiVersion: ")
    *warnings, result = checked.splitlines()
    assert warnings
    assert all(": warning: " in line and "there is no file /" in line for line in warnings)
    assert result.startswith("site/routes.yaml: good (1 receiver, 2 destinations), ")
    assert list(yaml.safe_load_all(f"apiVersion: {shown}"))


def test_commands_of_the_page_say_what_they_need_and_its_files_exist() -> None:
    shell = blocks("sh")
    assert shell
    for block in shell:
        needs = re.search(r"^(oc|kubectl) (?!kustomize )", block, re.MULTILINE)
        assert bool(needs) == block.startswith("# (needs a cluster)\n"), block
        assert ("podman " in block.partition("\n")[2]) == block.startswith("# (needs podman)\n"), block
    assert {*re.findall(r'"(\(needs [^"]*\))"', INSTALL)} == {"(needs a cluster)", "(needs podman)"}
    for path in re.findall(r"(?<![\w/.])deploy/[\w./-]*\w", INSTALL):
        assert (ROOT / path).exists(), path
    for link in re.findall(r"\]\(([\w/.-]+\.md)", INSTALL):
        assert (ROOT / "docs" / link).exists(), link


def test_every_option_is_on_the_page() -> None:
    table = INSTALL[INSTALL.index("## Options") :]
    assert {*re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)} == {*OPTIONAL}
