namespace StableDiffusion.Schedulers;

/// <summary>A quantity that is linear in the sample and the model output: Sample * x + Output * m.</summary>
readonly record struct Prediction(double Sample, double Output)
{
    /// <summary>The noise-free sample where x = alpha * x0 + sigma * noise.</summary>
    public static Prediction Original(PredictionType type, double alpha, double sigma) => type switch
    {
        PredictionType.Epsilon => new(1 / alpha, -sigma / alpha),
        PredictionType.Sample => new(0, 1),
        _ => new(alpha, -sigma),
    };

    /// <summary>The noise where x = alpha * x0 + sigma * noise.</summary>
    public static Prediction Noise(PredictionType type, double alpha, double sigma) => type switch
    {
        PredictionType.Epsilon => new(0, 1),
        PredictionType.Sample => new(1 / sigma, -alpha / sigma),
        _ => new(sigma, alpha),
    };

    /// <summary>The noise-free sample where x = x0 + sigma * noise and the model sees x / sqrt(sigma^2 + 1).</summary>
    public static Prediction OriginalUnscaled(PredictionType type, double sigma) => type switch
    {
        PredictionType.Epsilon => new(1, -sigma),
        PredictionType.Sample => new(0, 1),
        _ => new(1 / (sigma * sigma + 1), -sigma / Math.Sqrt(sigma * sigma + 1)),
    };

    /// <summary>dx/dsigma = (x - x0) / sigma for this x0.</summary>
    public Prediction Derivative(double sigma) => new((1 - Sample) / sigma, -Output / sigma);

    /// <summary>This quantity as terms of a combination, times a factor.</summary>
    public Term[] Terms(double factor = 1) => [new(Register.Sample, factor * Sample), new(Register.ModelOutput, factor * Output)];
}
