"""Running a job: plan, reuse, processes, sweeps."""
