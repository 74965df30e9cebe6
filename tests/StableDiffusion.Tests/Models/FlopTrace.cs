using StableDiffusion.Native;

namespace StableDiffusion.Tests.Models;

/// <summary>Adds up the matrix work of each layer, without that of the layers inside it.</summary>
internal sealed class FlopTrace : ILayerTrace
{
    private long _last;

    public Stack<string> Open { get; } = new();

    public Dictionary<string, long> Flops { get; } = [];

    public void Enter(string path, Exec exec)
    {
        Account(exec);
        Open.Push(path);
    }

    public void Leave(string path, Exec exec)
    {
        Account(exec);
        Assert.That(Open.Pop(), Is.EqualTo(path));
    }

    private void Account(Exec exec)
    {
        long now = exec.Stats.Flops;
        if (Open.TryPeek(out string? layer))
        {
            Flops[layer] = Flops.GetValueOrDefault(layer) + now - _last;
        }
        else
        {
            Assert.That(now, Is.EqualTo(_last), "matrix work outside any layer");
        }
        _last = now;
    }
}
