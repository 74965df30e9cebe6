using System.Text.Json.Nodes;

namespace StableDiffusion.Schedulers;

/// <summary>The schedulers there are, by class name and by the names web UIs use.</summary>
static class SchedulerCatalog
{
    const string Suffix = "Scheduler";

    static readonly Type[] Classes =
    [
        typeof(PNDMScheduler), typeof(LMSDiscreteScheduler), typeof(DDIMScheduler), typeof(EulerDiscreteScheduler),
        typeof(EulerAncestralDiscreteScheduler), typeof(DPMSolverMultistepScheduler), typeof(DDPMScheduler), typeof(UniPCMultistepScheduler),
        typeof(HeunDiscreteScheduler), typeof(KDPM2DiscreteScheduler), typeof(KDPM2AncestralDiscreteScheduler),
        typeof(DPMSolverSinglestepScheduler), typeof(DEISMultistepScheduler), typeof(LCMScheduler), typeof(TCDScheduler), typeof(EDMEulerScheduler),
    ];

    /// <summary>Web UI name, class, and what it fixes. The second name is the one node-based UIs use.</summary>
    static readonly (string Name, string Node, Type Class, JsonObject Fixed)[] Samplers =
    [
        ("PLMS", "plms", typeof(PNDMScheduler), new() { ["skip_prk_steps"] = true }),
        ("LMS", "lms", typeof(LMSDiscreteScheduler), []),
        ("DDIM", "ddim", typeof(DDIMScheduler), []),
        ("Euler", "euler", typeof(EulerDiscreteScheduler), []),
        ("Euler a", "euler_ancestral", typeof(EulerAncestralDiscreteScheduler), []),
        ("DPM++ 2M", "dpmpp_2m", typeof(DPMSolverMultistepScheduler), Dpm("dpmsolver++", 2)),
        ("DPM++ 2M SDE", "dpmpp_2m_sde", typeof(DPMSolverMultistepScheduler), Dpm("sde-dpmsolver++", 2)),
        ("DPM++ 2M SDE Heun", "dpmpp_2m_sde_heun", typeof(DPMSolverMultistepScheduler), Dpm("sde-dpmsolver++", 2, "heun")),
        ("DPM++ 3M", "dpmpp_3m", typeof(DPMSolverMultistepScheduler), Dpm("dpmsolver++", 3)),
        ("DPM++ 3M SDE", "dpmpp_3m_sde", typeof(DPMSolverMultistepScheduler), Dpm("sde-dpmsolver++", 3)),
        ("DPM++ 2S", "dpmpp_2s", typeof(DPMSolverSinglestepScheduler), Dpm("dpmsolver++", 2)),
        ("DPM++ SDE", "dpmpp_sde", typeof(DPMSolverSinglestepScheduler), Dpm("sde-dpmsolver++", 2)),
        ("DPM2", "dpm_2", typeof(KDPM2DiscreteScheduler), []),
        ("DPM2 a", "dpm_2_ancestral", typeof(KDPM2AncestralDiscreteScheduler), []),
        ("Heun", "heun", typeof(HeunDiscreteScheduler), []),
        ("UniPC", "uni_pc", typeof(UniPCMultistepScheduler), new() { ["solver_type"] = "bh2" }),
        ("DEIS", "deis", typeof(DEISMultistepScheduler), new() { ["algorithm_type"] = "deis", ["solver_type"] = "logrho" }),
        ("DDPM", "ddpm", typeof(DDPMScheduler), []),
        ("LCM", "lcm", typeof(LCMScheduler), []),
        ("TCD", "tcd", typeof(TCDScheduler), []),
        ("EDM Euler", "edm_euler", typeof(EDMEulerScheduler), []),
    ];

    /// <summary>What may follow a sampler's name, and the keys it sets.</summary>
    static readonly (string Name, string Key, JsonNode Value)[] Spacings =
    [
        ("Karras", "use_karras_sigmas", true),
        ("Exponential", "use_exponential_sigmas", true),
        ("Beta", "use_beta_sigmas", true),
        ("SGM Uniform", "timestep_spacing", "trailing"),
        ("Simple", "timestep_spacing", "trailing"),
    ];

    public static IReadOnlyList<string> ClassNames { get; } = [.. Classes.Select(type => type.Name)];

    public static IReadOnlyList<string> Names { get; } =
    [
        .. ClassNames,
        .. Samplers.SelectMany(sampler => Spacings.Where(spacing => Fits(sampler.Class, spacing.Key) && spacing.Name != "Simple")
            .Select(spacing => $"{sampler.Name} {spacing.Name}").Prepend(sampler.Name)),
    ];

    /// <summary>The class of a name, with or without its ending.</summary>
    public static Type? FindClass(string name) =>
        Classes.FirstOrDefault(type => Same(type.Name, name) || Same(type.Name[..^Suffix.Length], name));

    public static Scheduler Create(string name, Scheduler? model)
    {
        ArgumentNullException.ThrowIfNull(name);
        JsonObject config = model is null ? [] : SchedulerConfig.Stated(model);
        Type type = FindClass(name) ?? FindSampler(name, config)
            ?? throw new ArgumentException($"There is no scheduler '{name}'; there are {string.Join(", ", Names)}.");
        try
        {
            return SchedulerConfig.Read(type, config);
        }
        catch (InvalidDataException error)
        {
            throw new ArgumentException($"The scheduler '{name}' does not fit this model. {error.Message}", error);
        }
    }

    /// <summary>Finds a web UI name and sets in the config what it stands for.</summary>
    static Type? FindSampler(string name, JsonObject config)
    {
        foreach ((string sampler, string node, Type type, JsonObject settings) in Samplers)
        {
            foreach ((string spacing, string key, JsonNode value) in Spacings.Where(spacing => Fits(type, spacing.Key)).Prepend(("", "", false)))
            {
                if (!Same($"{sampler} {spacing}".Trim(), name) && !Same($"{node}_{spacing.Replace(' ', '_')}".Trim('_'), name))
                {
                    continue;
                }
                foreach ((_, string other, _) in Spacings.Where(other => other.Key.StartsWith("use_", StringComparison.Ordinal)))
                {
                    config[other] = false;
                }
                foreach ((string setting, JsonNode? fixedValue) in settings)
                {
                    config[setting] = fixedValue?.DeepClone();
                }
                if (key.Length > 0)
                {
                    config[key] = value.DeepClone();
                }
                return type;
            }
        }
        return null;
    }

    /// <summary>What the web UIs call a scheduler: sampler and schedule type ("DPM++ 2M", "Karras"). The class name where they have none.</summary>
    public static (string Sampler, string? ScheduleType) WebName(IScheduler scheduler)
    {
        JsonObject config = scheduler is Scheduler known ? SchedulerConfig.Write(known) : [];
        bool Has(string key, JsonNode? value) => JsonNode.DeepEquals(config[key], value);
        string? sampler = Samplers.Where(candidate => candidate.Class == scheduler.GetType() && candidate.Fixed.All(pair => Has(pair.Key, pair.Value)))
            .OrderByDescending(candidate => candidate.Fixed.Count).Select(candidate => candidate.Name).FirstOrDefault();
        string? spacing = Spacings.FirstOrDefault(candidate => Fits(scheduler.GetType(), candidate.Key) && Has(candidate.Key, candidate.Value)).Name;
        return (sampler ?? scheduler.Name, spacing);
    }

    static JsonObject Dpm(string algorithm, int order, string solver = "midpoint") =>
        new() { ["algorithm_type"] = algorithm, ["solver_order"] = order, ["solver_type"] = solver };

    /// <summary>Whether a class heeds the key of a spacing. The singlestep solver and those of distilled models choose their timesteps themselves.</summary>
    static bool Fits(Type type, string key) => key.StartsWith("use_", StringComparison.Ordinal)
        ? type.IsSubclassOf(typeof(SigmaScheduler))
        : type.IsSubclassOf(typeof(BetaScheduler)) && !type.IsSubclassOf(typeof(ConsistencyScheduler)) && type != typeof(DPMSolverSinglestepScheduler);

    static bool Same(string left, string right) => string.Equals(left, right, StringComparison.OrdinalIgnoreCase);
}
