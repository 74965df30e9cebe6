namespace StableDiffusion.Schedulers;

/// <summary>A run whose noise levels are looked up by whole timesteps: x = sqrt(a) x0 + sqrt(1 - a) noise.</summary>
abstract class AlphaRun(RunTables tables) : SchedulerRun(tables)
{
    /// <summary>The timestep of a call.</summary>
    protected int TimestepAt(int call) => (int)Timesteps[call];

    /// <summary>The share of signal in the variance at a training timestep.</summary>
    protected float Alpha(int timestep) => AlphasCumprod[timestep];

    /// <inheritdoc/>
    public override (double Signal, double Noise) AddNoise(int call)
    {
        float alpha = Alpha(TimestepAt(call));
        return (Math.Sqrt(alpha), Math.Sqrt(1 - alpha));
    }

    /// <summary>The tables of such a run, with a check that every timestep lies in the training schedule.</summary>
    public static RunTables Tables(int[] timesteps, float[] alphasCumprod, PredictionType prediction, SchedulerStart start)
    {
        if (timesteps.Any(t => t >= alphasCumprod.Length))
        {
            throw new ArgumentException(
                $"The schedule visits timestep {timesteps.Max()}, but the model was trained with 0 to {alphasCumprod.Length - 1}; take fewer steps.");
        }
        if (prediction == PredictionType.Epsilon && timesteps.Any(t => alphasCumprod[t] == 0))
        {
            throw new ArgumentException(
                "The schedule begins without any signal (rescale_betas_zero_snr), where a model that predicts epsilon says nothing about the image; it needs prediction_type v_prediction or sample.");
        }
        return new RunTables
        {
            Timesteps = Array.ConvertAll(timesteps, t => (float)t),
            AlphasCumprod = alphasCumprod,
            FirstCall = start.FirstCall,
        };
    }
}
