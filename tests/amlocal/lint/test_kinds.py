"""Kinds of files that the reader has no model of: azure-ai-ml's refusals at their lines, and rules of our own."""

import pytest

from amlocal.lint.check import lint_file

SCHEMA = "$schema: https://azuremlschemas.azureedge.net/latest/{}.schema.json\n"
DEPLOYMENT = """\
name: blue
endpoint_name: my-endpoint
model: azureml:m:1
instance_type: Standard_DS3_v2
instance_count: 1
"""


@pytest.fixture
def found(tmp_path):
    def lint(schema, text):
        path = tmp_path / "file.yml"
        path.write_text(SCHEMA.format(schema) + text)
        return [(problem.place.line, problem.rule) for problem in lint_file(path).problems]

    return lint


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ("managedOnlineDeployment", DEPLOYMENT),
        ("kubernetesOnlineDeployment", DEPLOYMENT.replace("Standard_DS3_v2", "small") + "type: kubernetes\n"),
        (
            "modelBatchDeployment",
            "name: first\nendpoint_name: scores\ntype: model\nmodel: azureml:m:1\ncompute: azureml:cpu\n"
            "settings: {mini_batch_size: 10, output_action: append_row}\n",
        ),
        ("batchEndpoint", "name: scores\ndefaults: {deployment_name: first}\n"),
        ("managedOnlineEndpoint", "name: my-endpoint\nauth_mode: key\ntraffic: {blue: 0}\n"),
        ("managedOnlineEndpoint", "name: my-endpoint\nauth_mode: key\ntraffic: {blue: 100}\nmirror_traffic: {g: 10}\n"),
        ("azureBlob", "name: store\ntype: azure_blob\naccount_name: x\ncontainer_name: y\n"),
        ("computeInstance", "name: mine\ntype: computeinstance\nsize: STANDARD_DS3_v2\n"),
        ("workspace", "name: w\nlocation: westeurope\n"),
        ("model", "name: m\nversion: 1\ntype: mlflow_model\npath: azureml://jobs/x/outputs/artifacts/paths/model\n"),
        (
            "schedule",
            'name: s\ntrigger:\n  type: cron\n  expression: "*/15 0-6,8 * jan mon-fri"\n'
            "  time_zone: Pacific Standard Time\ncreate_job: azureml:registered-job\n",
        ),
        (
            "schedule",
            "name: s\ntrigger:\n  type: recurrence\n  frequency: week\n  interval: 1\n"
            "  schedule: {week_days: [monday], hours: 3, minutes: [0, 30]}\ncreate_job: azureml:registered-job\n",
        ),
    ],
)
def test_valid_files_raise_no_alarm(found, schema, text):
    assert found(schema, text) == []


@pytest.mark.parametrize(
    ("schema", "text", "problems"),
    [
        ("managedOnlineDeployment", DEPLOYMENT + "model_mount: /x\n", [(7, "unknown-key")]),
        ("managedOnlineDeployment", DEPLOYMENT + "liveness_probe:\n  perod: 3\n", [(8, "unknown-key")]),
        ("managedOnlineDeployment", DEPLOYMENT + "environment:\n  imag: x\n", [(8, "unknown-key"), (7, "required")]),
        ("managedOnlineDeployment", DEPLOYMENT.replace("instance_count: 1", "instance_count: x"), [(6, "azure-ai-ml")]),
        ("managedOnlineEndpoint", "name: my-endpoint\nauth_mode: kee\n", [(3, "azure-ai-ml")]),
        ("managedOnlineEndpoint", "name: my-endpoint\ntraffic: {a: 60, b: 30}\n", [(3, "traffic")]),
        ("managedOnlineEndpoint", "name: my-endpoint\nmirror_traffic: {a: 10, b: 10}\n", [(3, "traffic")]),
        (
            "azureBlob",
            "name: s\ntype: azure_blob\naccount_name: x\ncontainer: y\n",
            [(1, "required"), (5, "unknown-key")],
        ),
        ("amlCompute", "name: c\ntype: amlcompute\nmin_instances: few\n", [(4, "azure-ai-ml")]),
        ("workspace", "name: w\nlocatio: westeurope\n", [(3, "unknown-key")]),
        ("data", "name: d\nversion: 1\ntype: uri_fil\npath: .\n", [(4, "azure-ai-ml")]),
        (
            "schedule",
            "name: s\ntrigger:\n  type: recurrence\n  frequency: dayly\n  interval: 0\ncreate_job: azureml:j\n",
            [(5, "azure-ai-ml"), (6, "trigger")],
        ),
        (
            "schedule",
            'name: s\ntrigger: {type: cron, expression: "0 3 * *", time_zone: Europe/Berlin}\ncreate_job: azureml:j\n',
            [(3, "trigger"), (3, "trigger")],
        ),
        (
            "schedule",
            "name: s\ntrigger:\n  type: recurrence\n  frequency: day\n  interval: 1\n  time_zone: Berlin\n"
            "  start_time: '2024-07-10T10:00:00'\n  end_time: '2023-07-10T10:00:00'\ncreate_job: azureml:j\n",
            [(7, "trigger"), (9, "trigger")],
        ),
        (
            "managedOnlineDeployment",
            DEPLOYMENT + "scale_settings:\n  type: target_utilization\n  min_instances: 5\n  max_instances: 1\n",
            [(9, "instances")],
        ),
        ("commandJob", "command: ls\nenvironment: azureml:e:1\nresources: {shm_size: 2gigs}\n", [(4, "type")]),
        (
            "modelBatchDeployment",
            "name: first\nendpoint_name: scores\ntype: model\nmodel: azureml:m:1\ncompute: azureml:cpu\n"
            "settings: {mini_batch_size: 0}\n",
            [(7, "request-settings")],
        ),
        (
            "modelBatchDeployment",
            "name: first\nendpoint_name: scores\ntype: model\nmodel: azureml:m:1\ncompute: azureml:cpu\n"
            "settings: {mini_batch_sise: 10}\n",
            [(7, "unknown-key")],
        ),
    ],
)
def test_mistakes_are_found_at_their_lines(found, schema, text, problems):
    assert sorted(found(schema, text)) == sorted(problems)


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        ("def init():\n    pass\ndef run(data):\n    pass\n", []),
        ("def init(a=1):\n    pass\ndef run(*data):\n    pass\n", []),
        ("def init():\n    pass\n@wrapped\ndef run():\n    pass\n", []),
        ("def init(a):\n    pass\ndef run(data):\n    pass\n", [9]),
        ("def init():\n    pass\ndef run():\n    pass\n", [9]),
    ],
)
def test_a_scoring_script_is_called_as_it_is_defined(found, tmp_path, script, lines):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "score.py").write_text(script)
    code = "environment: azureml:e:1\ncode_configuration:\n  scoring_script: score.py\n  code: code\n"
    assert found("managedOnlineDeployment", DEPLOYMENT + code) == [(line, "scoring-script") for line in lines]
