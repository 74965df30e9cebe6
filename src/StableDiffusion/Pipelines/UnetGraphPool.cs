using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>
/// The graph instances of a set of components. A generation rents one; a second one of the same shape at the same time rents another, or waits
/// where memory does not allow it. Thread-safe.
/// </summary>
internal sealed class UnetGraphPool : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(50);
    private readonly Lock _lock = new();
    private readonly List<UnetGraph> _idle = [];
    private readonly List<UnetGraph> _rented = [];
    private int _making;
    private bool _disposed;

    /// <summary>Device memory of all instances.</summary>
    public long Bytes
    {
        get
        {
            lock (_lock)
            {
                return _idle.Concat(_rented).Sum(graph => graph.Bytes);
            }
        }
    }

    /// <summary>Instances that exist.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _idle.Count + _rented.Count;
            }
        }
    }

    /// <summary>An idle instance of that key, or a new one. Give it back.</summary>
    /// <param name="key">What for.</param>
    /// <param name="bytes">What a new one takes.</param>
    /// <param name="device">Where.</param>
    /// <param name="make">Makes one.</param>
    /// <param name="cancellation">Stops waiting.</param>
    /// <exception cref="OutOfDeviceMemoryException">A new one does not fit, and none is rented that could come back.</exception>
    public UnetGraph Rent(UnetGraphKey key, long bytes, Device device, Func<UnetGraph> make, CancellationToken cancellation)
    {
        while (true)
        {
            cancellation.ThrowIfCancellationRequested();
            bool others;
            lock (_lock)
            {
                ObjectDisposedException.ThrowIf(_disposed, this);
                if (_idle.FindLast(graph => graph.Key == key) is { } found)
                {
                    _idle.Remove(found);
                    _rented.Add(found);
                    return found;
                }
                others = _rented.Count + _making > 0;
                _making++;
            }
            try
            {
                if (bytes > device.Info.FreeBytes)
                {
                    Trim();
                }
                // Where nobody else has one there is nothing to wait for: try, and let the attempt say what is missing.
                if (!others || bytes <= device.Info.FreeBytes)
                {
                    UnetGraph made = make();
                    lock (_lock)
                    {
                        _rented.Add(made);
                    }
                    return made;
                }
            }
            catch (OutOfDeviceMemoryException) when (others)
            {
                // Somebody else took the memory meanwhile.
            }
            finally
            {
                lock (_lock)
                {
                    _making--;
                }
            }
            cancellation.WaitHandle.WaitOne(Patience);
        }
    }

    /// <summary>Gives an instance back. One whose generation failed may still be at work: it is not used again.</summary>
    public void Return(UnetGraph graph, bool failed)
    {
        bool keep;
        lock (_lock)
        {
            _rented.Remove(graph);
            keep = !failed && !_disposed;
            if (keep)
            {
                _idle.Add(graph);
            }
        }
        if (!keep)
        {
            graph.Dispose();
        }
    }

    /// <summary>Frees the instances that nobody rents.</summary>
    public void Trim()
    {
        UnetGraph[] idle;
        lock (_lock)
        {
            idle = [.. _idle];
            _idle.Clear();
        }
        foreach (UnetGraph graph in idle)
        {
            graph.Dispose();
        }
    }

    /// <summary>Frees all; one that is rented goes when it is given back.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _disposed = true;
        }
        Trim();
    }
}
