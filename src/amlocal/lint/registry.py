"""Every rule: what ``amlocal lint --rules`` lists and docs/lint.md shows."""

from __future__ import annotations

from amlocal.lint.files import Kind
from amlocal.lint.rule import Rule, Severity
from amlocal.lint.rules import asset, command, document, given, graph, script

_ERROR, _WARNING, _EITHER = Severity.ERROR, Severity.WARNING, Severity.EITHER
_ONLINE = (Kind.ONLINE_ENDPOINT, Kind.ONLINE_DEPLOYMENT)
_ENDPOINTS = (*_ONLINE, Kind.BATCH_ENDPOINT, Kind.BATCH_DEPLOYMENT)
_DEPLOYMENTS = (Kind.ONLINE_DEPLOYMENT, Kind.BATCH_DEPLOYMENT)

RULES: tuple[Rule, ...] = (
    # The file itself.
    Rule("yaml", _ERROR, "text that is no YAML, an empty file, a key that is no text"),
    Rule("duplicate-key", _ERROR, "a key stated twice in one mapping"),
    Rule("unknown-key", _ERROR, "a key that Azure ML does not know there, with what was probably meant"),
    Rule(
        "required",
        _ERROR,
        "a key that must be there and is not",
        document=document.environment_image,
        kinds=(Kind.ENVIRONMENT, *_DEPLOYMENTS),
    ),
    Rule("type", _ERROR, "a value of another kind than the key takes, or an unknown type name"),
    Rule("range", _ERROR, "a number below its least value, or min above max"),
    Rule(
        "missing-file",
        _ERROR,
        "a component, environment, conda or code path that does not exist",
        document=document.local_path,
        kinds=(Kind.ENVIRONMENT, Kind.DATA, Kind.MODEL, *_DEPLOYMENTS),
    ),
    Rule(
        "schema",
        _WARNING,
        "a $schema of another kind of job than the job's type",
        document=command.schema_of_type,
        kinds=(Kind.JOB,),
    ),
    Rule(
        "asset-content",
        _EITHER,
        "a data asset or model whose path does not hold what its type says",
        document=asset.asset_content,
        kinds=(Kind.DATA, Kind.MODEL),
    ),
    Rule("unused-ignore", _WARNING, "an ignore comment that ignores nothing, or names no rule"),
    Rule("azure-ai-ml", _ERROR, "whatever else azure-ai-ml's own loader and validator refuse"),
    # Wiring.
    Rule(
        "expression",
        _EITHER,
        "a malformed ${{ }} or $[[ ]], or one that has no meaning where it stands",
        command=command.almost_expression,
    ),
    Rule("undefined-node", _ERROR, "a reference to a node that the pipeline does not have"),
    Rule("undefined-input", _ERROR, "a reference to an input that is not declared"),
    Rule("undefined-output", _ERROR, "a reference to an output that is not declared or that no node writes"),
    Rule("undefined-hyperparameter", _ERROR, "${{search_space.x}} without such a hyperparameter"),
    Rule("undefined-macro", _ERROR, "a macro in a place that does not fill it in"),
    Rule("undeclared-input", _ERROR, "a value for an input that the component does not declare"),
    Rule("required-input", _ERROR, "a required input that gets no value"),
    Rule("cycle", _ERROR, "nodes that wait for each other, a component that contains itself"),
    Rule("output-written-twice", _ERROR, "a pipeline output that two nodes write"),
    Rule("reserved-name", _ERROR, "an output named like the one that every node has"),
    Rule(
        "unused",
        _EITHER,
        "an input that no node or command uses, an output that no node writes",
        graph=graph.unused_names,
        step=script.unused_inputs,
    ),
    Rule("file-or-folder", _WARNING, "a file passed on as a folder, or the other way round", graph=graph.mixed_types),
    Rule("optional-input", _EITHER, "an optional input outside $[[ ]]", command=graph.optional_outside),
    Rule(
        "name",
        _ERROR,
        "names of nodes, inputs, outputs and assets that Azure ML does not take",
        graph=graph.input_names,
        document=asset.names,
        kinds=(Kind.JOB, Kind.COMPONENT, Kind.DATA, Kind.MODEL, Kind.ENVIRONMENT),
    ),
    # Values.
    Rule("value", _ERROR, "a value that does not fit its input: type, enum, min, max"),
    Rule("default", _ERROR, "a default that does not fit its own input"),
    Rule("mode", _ERROR, "a mode that an input or output does not take"),
    Rule(
        "job-input",
        _ERROR,
        "a job's or node's input with what only a component declares: default, optional, a plain type",
        document=given.job_inputs,
        kinds=(Kind.JOB,),
    ),
    Rule("address", _ERROR, "an azureml: address of no known form, or of data without a version"),
    Rule("missing-data", _ERROR, "an input's file or folder that does not exist"),
    Rule("empty-value", _WARNING, "a pipeline input of empty text, 0 or false", job=graph.empty_values),
    # Sweeps.
    Rule(
        "search-space",
        _EITHER,
        "a distribution that makes no sense, a hyperparameter that the trial does not take or that is an input too",
        graph=command.swept_inputs,
        command=command.exponents,
    ),
    Rule("sampling", _ERROR, "an unknown sampling algorithm, or one that does not take the search space"),
    Rule("objective", _ERROR, "a goal other than maximize or minimize"),
    Rule("early-termination", _ERROR, "a policy without its parameter, with two of them, or outside its range"),
    Rule(
        "limits",
        _EITHER,
        "more concurrent trials than trials, a trial_timeout above the timeout",
        command=command.trial_timeout,
    ),
    Rule(
        "metric-not-logged",
        _EITHER,
        "a primary metric that the trial's script never logs",
        step=script.metric_not_logged,
    ),
    # Commands.
    Rule(
        "fractional-hyperparameter",
        _WARNING,
        "fractions for an integer of a trial",
        command=command.fractional_hyperparameter,
    ),
    Rule("missing-environment", _ERROR, "a command without an environment", command=command.missing_environment),
    Rule(
        "missing-compute",
        _WARNING,
        "a pipeline node that no compute is stated for",
        document=command.missing_compute,
        kinds=(Kind.JOB,),
    ),
    Rule(
        "job-name",
        _WARNING,
        "a job or experiment name with characters that Azure does not take",
        document=command.job_name,
        kinds=(Kind.JOB,),
    ),
    Rule(
        "component-name",
        _WARNING,
        "no component name, or one that cannot be registered",
        document=command.component_name,
        kinds=(Kind.COMPONENT,),
    ),
    Rule(
        "missing-script", _EITHER, "a script that is not in the command's working directory", step=script.missing_script
    ),
    Rule("unclosed-quote", _ERROR, "a command with a quote that is never closed", command=command.unclosed_quotes),
    Rule("script-syntax", _EITHER, "a script that Python cannot parse", step=script.script_syntax),
    Rule("parallel-script", _ERROR, "a parallel entry script without run()", step=script.parallel_script),
    Rule("unknown-argument", _EITHER, "an argument that the script does not take", step=script.unknown_argument),
    Rule(
        "missing-argument",
        _ERROR,
        "an argument that the script requires and the command does not give",
        step=script.missing_argument,
    ),
    Rule("argument-usage", _EITHER, "a flag with a value, an argument without one", step=script.argument_usage),
    Rule(
        "argument-value",
        _EITHER,
        "a value, given or allowed by an enum, outside the script's type or choices",
        step=script.argument_value,
    ),
    Rule("boolean-argument", _WARNING, "type=bool, which reads False as True", step=script.boolean_argument),
    # Endpoints and other files.
    Rule(
        "endpoint-name",
        _ERROR,
        "an endpoint or deployment name that Azure does not take",
        document=document.endpoint_name,
        kinds=_ENDPOINTS,
    ),
    Rule(
        "traffic",
        _ERROR,
        "traffic that does not add up, mirrored traffic to a live deployment",
        document=document.traffic,
        kinds=(Kind.ONLINE_ENDPOINT,),
    ),
    Rule(
        "instances",
        _EITHER,
        "an instance type that is no virtual machine size, fewer than one instance",
        document=document.deployment_instances,
        kinds=(Kind.ONLINE_DEPLOYMENT,),
    ),
    Rule(
        "deployment-parts",
        _EITHER,
        "a deployment without model, or with code and no environment",
        document=document.deployment_parts,
        kinds=_DEPLOYMENTS,
    ),
    Rule(
        "scoring-script",
        _EITHER,
        "a scoring script that is not there, or without init or run",
        document=document.scoring_script,
        kinds=_DEPLOYMENTS,
    ),
    Rule(
        "request-settings",
        _ERROR,
        "timeouts, concurrency or probes outside what Azure takes",
        document=document.request_settings,
        kinds=_DEPLOYMENTS,
    ),
    Rule(
        "trigger",
        _EITHER,
        "a cron expression or recurrence that never fires as written",
        document=document.schedule_trigger,
        kinds=(Kind.SCHEDULE,),
    ),
    Rule(
        "schedule-job",
        _ERROR,
        "a schedule's job file that does not exist, or an input it does not have",
        document=document.schedule_job,
        kinds=(Kind.SCHEDULE,),
    ),
    Rule(
        "conda-file",
        _ERROR,
        "a conda file that is no mapping with dependencies, or lists what pip cannot read",
        document=document.conda_file,
        kinds=(Kind.ENVIRONMENT, *_DEPLOYMENTS),
    ),
)

NAMES = frozenset(rule.name for rule in RULES)

OF_THIS_MACHINE = frozenset({"not-on-this-machine", "not-supported", "environment", "download"})
"""What ``job create`` and ``job validate`` say of this machine: no rules, since no file is at fault."""
