Console.WriteLine("StableDiffusion.Native");
