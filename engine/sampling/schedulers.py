"""The flow solvers by name: diffusers' own schedulers, each with its flow options set.

Knows nothing about models or guidance. A scheduler holds the state of one clip: make a new one for each.
"""

from typing import TypeAlias

from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from engine.contract.errors import UserError

SOLVERS = ("euler", "unipc", "dpm++")

Scheduler: TypeAlias = FlowMatchEulerDiscreteScheduler | UniPCMultistepScheduler | DPMSolverMultistepScheduler


def make_scheduler(solver: str, shift: float, num_steps: int) -> Scheduler:
    """A scheduler with its timesteps set: `timesteps` [num_steps] in (0, 1000], `sigmas` [num_steps + 1] from ~1 to 0.

    `shift` warps the noise levels, σ = shift·u / (1 + (shift − 1)·u); 1 leaves them as they are. Raises UserError for
    an unknown solver, fewer than one step or a shift that is not positive.
    """
    if num_steps < 1:
        raise UserError(f"The number of steps must be at least 1, not {num_steps}.", "sampling.steps")
    if not shift > 0:
        raise UserError(f"The flow shift must be greater than 0, not {shift:g}; 1 means none.", "sampling.shift")
    scheduler: Scheduler
    match solver:
        case "euler":
            scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
        case "unipc":
            scheduler = UniPCMultistepScheduler(
                prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift, solver_order=2
            )
        case "dpm++":
            scheduler = DPMSolverMultistepScheduler(
                prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift, solver_order=2
            )
        case _:
            raise UserError(f"Unknown solver {solver!r}: choose one of {', '.join(SOLVERS)}.", "sampling.solver")
    scheduler.set_timesteps(num_steps)
    return scheduler
