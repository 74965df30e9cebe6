namespace StableDiffusion.Cli.Generate;

/// <summary>Files that are there whole or not at all.</summary>
internal static class AtomicFile
{
    /// <summary>What the unfinished file's name ends with.</summary>
    internal const string Suffix = ".part";

    /// <summary>Writes beside the target and then renames, so that a cancelled or full disk leaves no half file behind.</summary>
    /// <exception cref="CliException">It cannot be written; the text says why.</exception>
    internal static void Write(string path, Action<Stream> write)
    {
        string unfinished = path + Suffix;
        try
        {
            using (FileStream stream = File.Create(unfinished))
            {
                write(stream);
            }
            File.Move(unfinished, path, overwrite: true);
        }
        catch (Exception failure)
        {
            TryDelete(unfinished);
            if (failure is IOException or UnauthorizedAccessException)
            {
                throw CliException.File($"'{path}' cannot be written: {failure.Message.TrimEnd('.')}", failure);
            }
            throw;
        }
    }

    private static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            // The first failure is the one to tell.
        }
    }
}
