using Spectre.Console;
using StableDiffusion.Pipelines;

namespace StableDiffusion.Cli.Generate;

/// <summary>A progress bar on stderr with the time per step; then as <see cref="PlainView"/>.</summary>
internal sealed class BarView(Terminal terminal) : PlainView(terminal)
{
    private const double Whole = 1;
    private readonly List<string> _written = [];
    private ProgressTask? _task;

    /// <inheritdoc />
    internal override void Run(Action work)
    {
        try
        {
            Terminal.Rich(Terminal.Err).Progress()
                .AutoClear(true)
                .Columns(new ProgressBarColumn(), new PercentageColumn(), new TaskDescriptionColumn { Alignment = Justify.Left })
                .Start(context =>
                {
                    _task = context.AddTask("starting", maxValue: Whole);
                    work();
                });
        }
        finally
        {
            // Not earlier, since the bar and the files may share the terminal; and also when the rest was cancelled.
            _written.ForEach(Terminal.Out.WriteLine);
        }
    }

    /// <inheritdoc />
    internal override void Loading(string model) => Show($"loading {model}", 0);

    /// <inheritdoc />
    protected override void Progress(GenerationProgress progress) => Show(Describe(progress) + Pace(progress), TotalFraction(progress));

    /// <inheritdoc />
    protected override void Written(string line) => _written.Add(line);

    private void Show(string text, double fraction)
    {
        _task!.Description = Markup.Escape(text);
        _task.Value = fraction * Whole;
    }
}
