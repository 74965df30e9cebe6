namespace StableDiffusion.Schedulers;

/// <summary>A scheduler whose training noise is given by betas.</summary>
public abstract record BetaScheduler : Scheduler
{
    /// <summary>First beta. diffusers: <c>beta_start</c>.</summary>
    public double BetaStart { get; init; } = 0.0001;

    /// <summary>Last beta. diffusers: <c>beta_end</c>.</summary>
    public double BetaEnd { get; init; } = 0.02;

    /// <summary>The way from one to the other. diffusers: <c>beta_schedule</c>.</summary>
    public BetaSchedule BetaSchedule { get; init; } = BetaSchedule.Linear;

    /// <summary>The betas themselves, one per training timestep, instead of the three above. diffusers: <c>trained_betas</c>.</summary>
    public IReadOnlyList<float>? TrainedBetas { get; init; }

    /// <summary>How inference timesteps are chosen. diffusers: <c>timestep_spacing</c>.</summary>
    public TimestepSpacing TimestepSpacing { get; init; } = TimestepSpacing.Linspace;

    /// <summary>Added to the timesteps of the leading spacing. diffusers: <c>steps_offset</c>.</summary>
    public int StepsOffset { get; init; }

    /// <inheritdoc/>
    public override Scheduler WithLegacyConfigFixes() => this with { StepsOffset = 1 };

    internal override string? Problem() => base.Problem()
        ?? (TrainedBetas is { } betas && betas.Count != NumTrainTimesteps
            ? $"trained_betas has {betas.Count} entries; num_train_timesteps asks for {NumTrainTimesteps}."
            : null)
        ?? (IsBeta(BetaStart) && IsBeta(BetaEnd) && (TrainedBetas?.All(beta => IsBeta(beta)) ?? true)
            ? null
            : $"betas must be above 0 and below 1; beta_start is {BetaStart} and beta_end {BetaEnd}.");

    static bool IsBeta(double beta) => beta > 0 && beta < 1;

    /// <summary>Running product of 1 - beta per training timestep, float32.</summary>
    /// <param name="zeroTerminalSnr">Rescale so that the last timestep has no signal. diffusers: <c>rescale_betas_zero_snr</c>.</param>
    private protected float[] AlphasCumprod(bool zeroTerminalSnr = false)
    {
        float[] betas = NoiseTable.Betas(this);
        return NoiseTable.AlphasCumprod(zeroTerminalSnr ? NoiseTable.RescaleZeroTerminalSnr(betas) : betas);
    }

    /// <summary>
    /// The same for the schedulers that divide by it: with a zero terminal signal-to-noise ratio the last entry is 2^-24, so that the
    /// first noise level is 4096 and not infinite.
    /// </summary>
    private protected float[] AlphasCumprodForSigmas(bool zeroTerminalSnr)
    {
        float[] alphas = AlphasCumprod(zeroTerminalSnr);
        if (zeroTerminalSnr)
        {
            alphas[^1] = 1f / (1 << 24);
        }
        return alphas;
    }
}
