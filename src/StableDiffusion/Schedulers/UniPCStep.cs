namespace StableDiffusion.Schedulers;

/// <summary>The numbers of one UniPC update from a noise level to another, with the levels of the older outputs. arXiv:2302.04867, section 3.</summary>
sealed class UniPCStep
{
    readonly double exponent;
    readonly double stepFunction;

    public UniPCStep(UniPCMultistepScheduler config, NoiseLevel from, NoiseLevel to, NoiseLevel[] older)
    {
        double h = to.Lambda - from.Lambda;
        exponent = config.PredictX0 ? -h : h;
        double phi1 = Math.Exp(exponent) - 1;
        stepFunction = config.SolverType == SolverType.Bh1 ? exponent : phi1;
        double scale = config.PredictX0 ? to.Alpha : to.Sigma;
        OfSample = config.PredictX0 ? to.Sigma / from.Sigma : to.Alpha / from.Alpha;
        OfOutput = -scale * phi1;
        OfDifferences = -scale * stepFunction;
        Ratios = [.. older.Select(level => (level.Lambda - from.Lambda) / h), 1];
    }

    /// <summary>Weight of the sample the update starts from.</summary>
    public double OfSample { get; }

    /// <summary>Weight of the newest converted output.</summary>
    public double OfOutput { get; }

    /// <summary>Factor of the weighted differences.</summary>
    public double OfDifferences { get; }

    /// <summary>Where the older outputs lie, as shares of the step, and 1 for its end.</summary>
    public double[] Ratios { get; }

    /// <summary>
    /// The weights of the first <paramref name="count"/> differences: the solution of sum_j r_j^(i-1) w_j = i! phi_(i+1) / B for i = 1 to
    /// count, in which phi_k is the k-th phi function of the step and B its step function.
    /// </summary>
    public double[] SolveWeights(int count)
    {
        var matrix = new double[count, count];
        var right = new double[count];
        double phi = (Math.Exp(exponent) - 1) / exponent - 1, factorial = 1;
        for (int i = 0; i < count; i++)
        {
            for (int j = 0; j < count; j++)
            {
                matrix[i, j] = Math.Pow(Ratios[j], i);
            }
            right[i] = phi * factorial / stepFunction;
            factorial *= i + 2;
            phi = phi / exponent - 1 / factorial;
        }
        return Solve(matrix, right);
    }

    /// <summary>Gaussian elimination with row pivoting.</summary>
    static double[] Solve(double[,] matrix, double[] right)
    {
        int count = right.Length;
        for (int column = 0; column < count; column++)
        {
            int pivot = Enumerable.Range(column, count - column).MaxBy(row => Math.Abs(matrix[row, column]));
            for (int k = 0; k < count; k++)
            {
                (matrix[column, k], matrix[pivot, k]) = (matrix[pivot, k], matrix[column, k]);
            }
            (right[column], right[pivot]) = (right[pivot], right[column]);
            for (int row = column + 1; row < count; row++)
            {
                double factor = matrix[row, column] / matrix[column, column];
                for (int k = column; k < count; k++)
                {
                    matrix[row, k] -= factor * matrix[column, k];
                }
                right[row] -= factor * right[column];
            }
        }
        for (int row = count - 1; row >= 0; row--)
        {
            for (int k = row + 1; k < count; k++)
            {
                right[row] -= matrix[row, k] * right[k];
            }
            right[row] /= matrix[row, row];
        }
        return right;
    }
}
