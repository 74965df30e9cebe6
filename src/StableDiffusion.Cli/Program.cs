using System.Runtime.InteropServices;
using StableDiffusion.Cli;

using var cancellation = new CancellationTokenSource();

// The first Ctrl+C cancels, and the program ends by itself within a second or so; a second one ends it at once.
Console.CancelKeyPress += (_, press) =>
{
    press.Cancel = !cancellation.IsCancellationRequested;
    cancellation.Cancel();
};
using PosixSignalRegistration termination = PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal =>
{
    signal.Cancel = true;
    cancellation.Cancel();
});

var terminal = new Terminal(Console.Out, Console.Error, !Console.IsOutputRedirected, !Console.IsErrorRedirected);
return CommandLineApp.Run(args, terminal, cancellation.Token);
