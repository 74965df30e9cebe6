namespace StableDiffusion.Schedulers;

/// <summary>
/// Pseudo numerical methods for diffusion models, arXiv:2202.09778 (PLMS where the Runge-Kutta steps are skipped). Mirrors diffusers'
/// <c>PNDMScheduler</c>: with <see cref="SkipPrkSteps"/> the second timestep is visited twice, so there is one model call more than steps.
/// </summary>
public sealed record PNDMScheduler : BetaScheduler
{
    /// <summary>Leading spacing, as the class has by default.</summary>
    public PNDMScheduler() => TimestepSpacing = TimestepSpacing.Leading;

    /// <summary>Begin with the linear multistep method at once. diffusers: <c>skip_prk_steps</c>.</summary>
    public bool SkipPrkSteps { get; init; }

    /// <summary>The last step goes to a sample without noise, not to the one of timestep 0. diffusers: <c>set_alpha_to_one</c>.</summary>
    public bool SetAlphaToOne { get; init; }

    internal override string? Problem() => base.Problem()
        ?? (PredictionType == PredictionType.Sample ? "prediction_type is sample; it must be epsilon or v_prediction." : null);

    private protected override SchedulerRun Start(int steps, SchedulerStart start)
    {
        int[] visited = TimestepTable.Whole(this, steps);
        if (SkipPrkSteps)
        {
            int[] twice = steps > 1 ? [visited[0], visited[1], .. visited[1..]] : visited;
            return new Run(this, steps, 0, twice, start);
        }
        if (steps < 4)
        {
            throw new ArgumentException($"The number of steps is {steps}; PNDMScheduler with its Runge-Kutta steps (skip_prk_steps false) needs at least 4.");
        }
        int half = NumTrainTimesteps / steps / 2;
        int[] rungeKutta =
        [
            visited[0], visited[1] + half, visited[1] + half, visited[1],
            visited[1], visited[2] + half, visited[2] + half, visited[2],
            visited[2], visited[3] + half, visited[3] + half, visited[3],
        ];
        return new Run(this, steps, rungeKutta.Length, [.. rungeKutta, .. visited[3..]], start);
    }

    sealed class Run(PNDMScheduler config, int steps, int rungeKuttaCalls, int[] timesteps, SchedulerStart start)
        : AlphaRun(Tables(timesteps, config.AlphasCumprod(), config.PredictionType, start))
    {
        /// <summary>The last four model outputs lie in slots 0 to 3 in turn.</summary>
        const int Outputs = 4;

        static readonly Register StepStart = Register.Slot(Outputs);
        static readonly Register Blend = Register.Slot(Outputs + 1);
        static readonly Register Original = Register.Slot(Outputs + 2);

        /// <summary>Adams-Bashforth weights by the number of outputs there are, newest first.</summary>
        static readonly double[][] AdamsBashforth = [[1], [3.0 / 2, -1.0 / 2], [23.0 / 12, -16.0 / 12, 5.0 / 12], [55.0 / 24, -59.0 / 24, 37.0 / 24, -9.0 / 24]];

        readonly int stride = config.NumTrainTimesteps / steps;

        public override StepProgram Step(int call)
        {
            int count = call - FirstCall;
            double alpha = Alpha(TimestepAt(call));
            var program = new StepProgramBuilder()
                .Combine(Original, Prediction.Original(config.PredictionType, Math.Sqrt(alpha), Math.Sqrt(1 - alpha)).Terms());
            return count < rungeKuttaCalls ? RungeKutta(program, call, count) : Multistep(program, call, count);
        }

        StepProgram RungeKutta(StepProgramBuilder program, int call, int count)
        {
            int previous = TimestepAt(call) - (count % 2 == 0 ? stride / 2 : 0);
            int timestep = timesteps[count / 4 * 4];
            double[] weights = [1.0 / 6, 1.0 / 3, 1.0 / 3, 1.0 / 6];
            switch (count % 4)
            {
                case 0:
                    program.Copy(Output(count / 4), Register.ModelOutput);
                    program.Copy(StepStart, Register.Sample);
                    program.Combine(Blend, new Term(Register.ModelOutput, weights[0]));
                    break;
                default:
                    program.Combine(Blend, new Term(Blend, 1), new Term(Register.ModelOutput, weights[count % 4]));
                    break;
            }
            Register slope = count % 4 == 3 ? Blend : Register.ModelOutput;
            return Transfer(program, StepStart, timestep, previous, [new Term(slope, 1)]);
        }

        StepProgram Multistep(StepProgramBuilder program, int call, int count)
        {
            int timestep = TimestepAt(call), previous = timestep - stride;
            if (count == 1)
            {
                // The first step once more, with the mean of the outputs at both its ends.
                return Transfer(program, StepStart, timestep + stride, timestep, [new Term(Output(0), 0.5), new Term(Register.ModelOutput, 0.5)]);
            }
            int newest = rungeKuttaCalls > 0 ? 3 + count - rungeKuttaCalls : count == 0 ? 0 : count - 1;
            program.Copy(Output(newest), Register.ModelOutput);
            if (count == 0)
            {
                program.Copy(StepStart, Register.Sample);
            }
            double[] weights = AdamsBashforth[Math.Min(newest, Outputs - 1)];
            return Transfer(program, Register.Sample, timestep, previous, [.. weights.Select((weight, age) => new Term(Output(newest - age), weight))]);
        }

        static Register Output(int number) => Register.Slot(number % Outputs);

        /// <summary>Formula (9) of the paper: from one timestep to another along a slope.</summary>
        StepProgram Transfer(StepProgramBuilder program, Register from, int timestep, int previous, Term[] slope)
        {
            double alpha = Alpha(timestep);
            double alphaPrevious = previous >= 0 ? Alpha(previous) : config.SetAlphaToOne ? 1 : Alpha(0);
            double beta = 1 - alpha, betaPrevious = 1 - alphaPrevious;
            double ofSlope = -(alphaPrevious - alpha) / (alpha * Math.Sqrt(betaPrevious) + Math.Sqrt(alpha * beta * alphaPrevious));
            double ofSample = Math.Sqrt(alphaPrevious / alpha);
            if (config.PredictionType == PredictionType.VPrediction)
            {
                ofSample += ofSlope * Math.Sqrt(beta);
                ofSlope *= Math.Sqrt(alpha);
            }
            program.Combine(Register.Sample, [new Term(from, ofSample), .. slope.Select(term => term with { Coefficient = ofSlope * term.Coefficient })]);
            return program.Build(Original);
        }
    }
}
