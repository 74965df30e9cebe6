namespace StableDiffusion.Random;

/// <summary>
/// The 32-bit Mersenne twister MT19937 (M. Matsumoto and T. Nishimura, "Mersenne Twister", ACM TOMACS 8, 1998), seeded with one
/// 32-bit number.
/// </summary>
internal sealed class MersenneTwister
{
    private const int Length = 624;
    private const int Middle = 397;

    private readonly uint[] state = new uint[Length];
    private int next = Length;

    public MersenneTwister(uint seed)
    {
        state[0] = seed;
        for (uint i = 1; i < Length; i++)
        {
            uint before = state[i - 1];
            state[i] = (1812433253 * (before ^ (before >> 30))) + i;
        }
    }

    /// <summary>The next 32 bits of the stream.</summary>
    public uint Next()
    {
        if (next == Length)
        {
            Twist();
            next = 0;
        }

        uint y = state[next++];
        y ^= y >> 11;
        y ^= (y << 7) & 0x9D2C5680;
        y ^= (y << 15) & 0xEFC60000;
        return y ^ (y >> 18);
    }

    private void Twist()
    {
        for (int i = 0; i < Length; i++)
        {
            uint joined = (state[i] & 0x80000000) | (state[(i + 1) % Length] & 0x7FFFFFFF);
            uint mask = (joined & 1) == 0 ? 0 : 0x9908B0DF;
            state[i] = state[(i + Middle) % Length] ^ (joined >> 1) ^ mask;
        }
    }
}
