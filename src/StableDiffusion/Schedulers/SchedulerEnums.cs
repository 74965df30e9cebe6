using System.Text.Json.Serialization;

namespace StableDiffusion.Schedulers;

/// <summary>What the model predicts. diffusers: <c>prediction_type</c>.</summary>
public enum PredictionType
{
    /// <summary>The noise.</summary>
    Epsilon,

    /// <summary>The noise-free sample.</summary>
    Sample,

    /// <summary>alpha * noise - sigma * sample, section 2.4 of arXiv:2210.02303.</summary>
    VPrediction,
}

/// <summary>How betas run over the training timesteps. diffusers: <c>beta_schedule</c>.</summary>
public enum BetaSchedule
{
    /// <summary>Evenly from beta_start to beta_end.</summary>
    Linear,

    /// <summary>Evenly in the square root: Stable Diffusion's own.</summary>
    ScaledLinear,

    /// <summary>Squared cosine of arXiv:2102.09672, capped at 0.999.</summary>
    [JsonStringEnumMemberName("squaredcos_cap_v2")]
    SquaredCosCapV2,

    /// <summary>Logistic from beta_start to beta_end over -6..6.</summary>
    Sigmoid,

    /// <summary>Laplace signal-to-noise schedule.</summary>
    Laplace,

    /// <summary>Exponential decay of the signal, exp(-12 t).</summary>
    Exp,
}

/// <summary>How inference timesteps are chosen from the training ones, table 2 of arXiv:2305.08891. diffusers: <c>timestep_spacing</c>.</summary>
public enum TimestepSpacing
{
    /// <summary>Evenly, both ends included.</summary>
    Linspace,

    /// <summary>Whole multiples from 0 up, plus <c>steps_offset</c>; the last training timestep is not visited.</summary>
    Leading,

    /// <summary>From the last training timestep down; 0 is not visited.</summary>
    Trailing,
}

/// <summary>The noise level after the last step. diffusers: <c>final_sigmas_type</c>.</summary>
public enum FinalSigmasType
{
    /// <summary>0: no noise left.</summary>
    Zero,

    /// <summary>The smallest noise level of training.</summary>
    SigmaMin,
}

/// <summary>How Euler turns timesteps into noise levels. diffusers: <c>interpolation_type</c>.</summary>
public enum InterpolationType
{
    /// <summary>Linear interpolation of the training noise levels.</summary>
    Linear,

    /// <summary>Evenly in the logarithm between the largest and the smallest.</summary>
    LogLinear,
}

/// <summary>What Euler hands to the model as time. diffusers: <c>timestep_type</c>.</summary>
public enum TimestepType
{
    /// <summary>A training timestep.</summary>
    Discrete,

    /// <summary>A quarter of the logarithm of the noise level, where the model predicts v.</summary>
    Continuous,
}

/// <summary>The equation a DPM solver integrates. diffusers: <c>algorithm_type</c>.</summary>
public enum AlgorithmType
{
    /// <summary>DPM-Solver, noise prediction, arXiv:2206.00927.</summary>
    [JsonStringEnumMemberName("dpmsolver")]
    DpmSolver,

    /// <summary>DPM-Solver++, data prediction, arXiv:2211.01095.</summary>
    [JsonStringEnumMemberName("dpmsolver++")]
    DpmSolverPlusPlus,

    /// <summary>Stochastic DPM-Solver.</summary>
    [JsonStringEnumMemberName("sde-dpmsolver")]
    SdeDpmSolver,

    /// <summary>Stochastic DPM-Solver++.</summary>
    [JsonStringEnumMemberName("sde-dpmsolver++")]
    SdeDpmSolverPlusPlus,

    /// <summary>DEIS; the DPM solvers read it as DPM-Solver++, as diffusers does.</summary>
    [JsonStringEnumMemberName("deis")]
    Deis,
}

/// <summary>
/// The variant of a multistep solver. diffusers: <c>solver_type</c>. Each scheduler knows some of them and reads the others as its
/// default, so that a config may be handed from one to another.
/// </summary>
public enum SolverType
{
    /// <summary>DPM solvers: midpoint.</summary>
    Midpoint,

    /// <summary>DPM solvers: Heun.</summary>
    Heun,

    /// <summary>DEIS: polynomial in the logarithm of rho.</summary>
    [JsonStringEnumMemberName("logrho")]
    LogRho,

    /// <summary>UniPC: B1(h) = h.</summary>
    [JsonStringEnumMemberName("bh1")]
    Bh1,

    /// <summary>UniPC: B2(h) = exp(h) - 1.</summary>
    [JsonStringEnumMemberName("bh2")]
    Bh2,
}
