using StableDiffusion.Native;
using StableDiffusion.Nn;

namespace StableDiffusion.Models.Unet;

/// <summary>
/// All that a UNet computes from the timesteps of a schedule, made once for the steps of a generation: what every residual block adds in every step. It lies
/// in the arena of the exec that made it and goes with that; dispose it to make room for another.
/// </summary>
public sealed class UnetSchedule : IDisposable
{
    private readonly UNet2DConditionModel _unet;
    private readonly Tensor _table;

    internal UnetSchedule(UNet2DConditionModel unet, Tensor table) => (_unet, _table) = (unet, table);

    /// <summary>Number of calls.</summary>
    public int Calls => (int)_table[0];

    /// <summary>The step of that number, from 0, for <see cref="UNet2DConditionModel.Forward(Exec, Tensor, TimeContext, UnetContext)"/>.</summary>
    public TimeContext this[int call] => _unet.TimeOf(Row(call));

    /// <summary>The same as one piece of memory <c>[1,length]</c>.</summary>
    internal Tensor Row(int call) => _table.Slice(0, call, 1);

    /// <inheritdoc />
    public void Dispose() => _table.Dispose();
}
