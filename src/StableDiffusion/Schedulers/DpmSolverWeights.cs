namespace StableDiffusion.Schedulers;

/// <summary>
/// The weights of one DPM-Solver update from a base noise level: next = Sample x + D0 d0 + D1 d1 + D2 d2 + Noise n, where d0 is the
/// converted model output at the base and d1, d2 are its first and second differences. arXiv:2206.00927, arXiv:2211.01095.
/// </summary>
readonly record struct DpmSolverWeights(double Sample, double D0, double D1, double D2, double Noise)
{
    /// <summary>The weights of an update over h = lambda(to) - lambda(from).</summary>
    /// <param name="algorithm">The equation.</param>
    /// <param name="midpoint">Weigh d1 as the midpoint rule does, half as much as d0; d2 is not used then.</param>
    /// <param name="from">The base noise level.</param>
    /// <param name="to">The noise level to reach.</param>
    public static DpmSolverWeights For(AlgorithmType algorithm, bool midpoint, NoiseLevel from, NoiseLevel to)
    {
        double h = to.Lambda - from.Lambda, alpha = to.Alpha, sigma = to.Sigma;
        return algorithm switch
        {
            AlgorithmType.DpmSolver => Scaled(to.Alpha / from.Alpha, -sigma, h, 0),
            AlgorithmType.SdeDpmSolver => Scaled(to.Alpha / from.Alpha, -2 * sigma, h, sigma * Math.Sqrt(Math.Exp(2 * h) - 1)),
            AlgorithmType.SdeDpmSolverPlusPlus =>
                Scaled(sigma / from.Sigma * Math.Exp(-h), -alpha, -2 * h, sigma * Math.Sqrt(1 - Math.Exp(-2 * h)), half: -0.5),
            _ => Scaled(sigma / from.Sigma, -alpha, -h, 0),
        };

        // The four differ in the exponent z and in a factor: e^z - 1, (e^z - 1)/z - 1, (e^z - 1 - z)/z^2 - 1/2. In diffusers the last 1/2
        // of the stochastic DPM-Solver++ has the other sign; the same seed gives the same picture only with it.
        DpmSolverWeights Scaled(double ofSample, double factor, double z, double ofNoise, double half = 0.5)
        {
            double phi1 = Math.Exp(z) - 1;
            return midpoint
                ? new(ofSample, factor * phi1, factor * phi1 / 2, 0, ofNoise)
                : new(ofSample, factor * phi1, factor * (phi1 / z - 1), factor * ((phi1 - z) / (z * z) - half), ofNoise);
        }
    }
}
