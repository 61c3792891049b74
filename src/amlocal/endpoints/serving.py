"""All running deployments of a workspace, and their routes."""

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from amlocal.endpoints.deployment import Deployment, MakeInstance
from amlocal.endpoints.instance import Instance
from amlocal.endpoints.router import Route, Router
from amlocal.endpoints.spec import DeploymentSpec


class Serving:
    """Starts and stops deployments and keeps the router's routes in step.

    Args:
        router: Gets a new route whenever something changes.
        sockets: Folder for the sockets of scoring processes, open to this user only.
        base: The daemon's environment.
        make_instance: Makes the scoring processes.
    """

    def __init__(
        self, router: Router, sockets: Path, base: Mapping[str, str], make_instance: MakeInstance = Instance
    ) -> None:
        self._router = router
        self._sockets = sockets
        self._base = base
        self._make_instance = make_instance
        self._numbers = itertools.count()
        self._live: set[Deployment] = set()

    def publish(
        self,
        endpoint: str,
        keys: tuple[str, ...],
        traffic: Mapping[str, int],
        mirror_traffic: Mapping[str, int],
    ) -> None:
        """Set an endpoint's keys and traffic; requests in flight are not touched.

        Args:
            endpoint: Its name.
            keys: Its keys.
            traffic: Percentage of live requests per deployment.
            mirror_traffic: Percentage of requests copied, per deployment.
        """
        route = self._router.routes.get(endpoint, Route(keys))
        self._router.routes[endpoint] = replace(
            route, keys=keys, traffic=dict(traffic), mirror_traffic=dict(mirror_traffic)
        )

    async def deploy(self, spec: DeploymentSpec) -> None:
        """Start a deployment; once it is healthy it takes the place of the one of the same name.

        Args:
            spec: What to run.

        Raises:
            ProvisioningError: It did not become healthy. What ran before still does.
        """
        deployment = self._make(spec)
        try:
            await deployment.start()
        except BaseException:
            self._live.discard(deployment)
            raise
        previous = self._place(deployment)
        if previous is not None:
            await self._retire(previous)

    async def restore(self, spec: DeploymentSpec) -> None:
        """Start a deployment that was healthy before the daemon was restarted.

        Args:
            spec: What to run.

        Raises:
            ProvisioningError: It cannot be started.
        """
        deployment = self._make(spec)
        try:
            await deployment.restore()
        except BaseException:
            self._live.discard(deployment)
            raise
        self._place(deployment)

    async def remove(self, endpoint: str, name: str) -> None:
        """Stop a deployment after its last request has been answered.

        Args:
            endpoint: Its endpoint.
            name: Its name.
        """
        route = self._router.routes.get(endpoint)
        if route is not None and name in route.deployments:
            deployment = route.deployments[name]
            others = {other: kept for other, kept in route.deployments.items() if other != name}
            self._router.routes[endpoint] = replace(route, deployments=others)
            await self._retire(deployment)
        self._router.metrics.forget(endpoint, name)

    async def remove_endpoint(self, endpoint: str) -> None:
        """Stop an endpoint: it is not found from now on, and its deployments end after their last answers.

        Args:
            endpoint: Its name.
        """
        route = self._router.routes.pop(endpoint, None)
        if route is not None:
            await asyncio.gather(*(self._retire(deployment) for deployment in route.deployments.values()))
            for name in route.deployments:
                self._router.metrics.forget(endpoint, name)

    async def close(self) -> None:
        """Stop all deployments without waiting for their requests."""
        self._router.routes.clear()
        live, self._live = self._live, set()
        await asyncio.gather(*(deployment.stop() for deployment in live))

    def _make(self, spec: DeploymentSpec) -> Deployment:
        # Numbered rather than named: the path of a socket must not be longer than about 100 bytes.
        sockets = self._sockets / str(next(self._numbers))
        on_restart = self._router.metrics.of(spec.endpoint, spec.name).restarted
        deployment = Deployment(spec, sockets, self._base, on_restart, self._make_instance)
        self._live.add(deployment)
        return deployment

    def _place(self, deployment: Deployment) -> Deployment | None:
        """Put a deployment into its endpoint's route; return the one it replaces."""
        spec = deployment.spec
        route = self._router.routes[spec.endpoint]
        self._router.routes[spec.endpoint] = replace(route, deployments={**route.deployments, spec.name: deployment})
        return route.deployments.get(spec.name)

    async def _retire(self, deployment: Deployment) -> None:
        """Stop a deployment that gets no new requests once it has answered those it has."""
        await deployment.drain()
        self._live.discard(deployment)
        await deployment.stop()
