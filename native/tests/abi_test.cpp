// The C boundary: sizes, versions, exports.
#include "tests/support.h"

#if !defined(_WIN32)
#include <dlfcn.h>
#endif

extern "C" int64_t sdn_c11_struct_size(int32_t kind);

namespace sdn::test {

TEST(Abi, StructSizes_EqualWhatCSees) {
    for (int32_t kind = SDN_STRUCT_TENSOR; kind <= SDN_STRUCT_TIMESTEP_PARAMS; ++kind)
        EXPECT_EQ(sdn_struct_size(kind), sdn_c11_struct_size(kind)) << "kind " << kind;
}

// By hand from sdn.h: every field at its natural alignment, no hidden padding.
TEST(Abi, StructSizes_AreTheSumsOfTheirFields) {
    EXPECT_EQ(sdn_struct_size(SDN_STRUCT_TENSOR), 8 + 2 * 4 + 8 * 8);
    EXPECT_EQ(sdn_struct_size(SDN_STRUCT_DEVICE_INFO), 4 * 4 + 2 * 8 + 128 + 32 + 6 * 4);
    EXPECT_EQ(sdn_struct_size(SDN_STRUCT_WEIGHT_DESC), 6 * 4 + 2 * 8);
    EXPECT_EQ(sdn_struct_size(SDN_STRUCT_WEIGHT_INFO), 2 * 4 + 3 * 8);
    EXPECT_EQ(sdn_struct_size(SDN_STRUCT_EXEC_STATS), 4 * 8);
    EXPECT_EQ(sdn_struct_size(SDN_STRUCT_CONV2D_PARAMS), 8 * 4);
    EXPECT_EQ(sdn_struct_size(SDN_STRUCT_ATTENTION_PARAMS), 4 * 4);
    EXPECT_EQ(sdn_struct_size(SDN_STRUCT_TIMESTEP_PARAMS), 4 * 4);
}

TEST(Abi, StructSizes_UnknownKindGivesMinusOne) {
    EXPECT_EQ(sdn_struct_size(-1), -1);
    EXPECT_EQ(sdn_struct_size(99), -1);
}

TEST(Abi, Version_EqualsTheHeader) {
    EXPECT_EQ(sdn_abi_version(), SDN_ABI_VERSION);
}

TEST(Abi, BuildInfo_NamesCompilerAndInstructionSets) {
    const std::string text = sdn_build_info();
    EXPECT_NE(text.find("portable"), std::string::npos) << text;
    EXPECT_NE(text.find("CUDA"), std::string::npos) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
}

#if !defined(_WIN32)
TEST(Abi, Library_ExportsTheInterfaceAndNothingElse) {
    void* library = dlopen(SDN_LIBRARY_PATH, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(library, nullptr) << dlerror();
    for (const char* name : {"sdn_last_error", "sdn_abi_version", "sdn_device_open", "sdn_exec_create", "sdn_weight_create", "sdn_conv2d",
                             "sdn_linear", "sdn_attention", "sdn_is_finite"})
        EXPECT_NE(dlsym(library, name), nullptr) << name;
    for (const char* name : {"_ZN3sdn4failEiPKcz", "_ZN3sdn5Arena5allocEl", "_ZN3sdn3cpu8portable7kernelsE"})
        EXPECT_EQ(dlsym(library, name), nullptr) << name << " is visible";
    dlclose(library);
}
#endif

TEST(LastError, AfterAFailure_NamesFunctionAndArgument) {
    expect_error(sdn_device_get_info(nullptr, nullptr), SDN_ERROR_INVALID_ARGUMENT, {"sdn_device_get_info", "device is NULL"});
    expect_error(sdn_device_open("cpu", 0, SDN_PRECISION_REFERENCE, nullptr), SDN_ERROR_INVALID_ARGUMENT,
                 {"sdn_device_open", "device is NULL"});
    expect_error(sdn_exec_alloc(nullptr, 1, nullptr), SDN_ERROR_INVALID_ARGUMENT, {"sdn_exec_alloc", "exec is NULL"});
    expect_error(sdn_clamp(nullptr, nullptr, nullptr, 0, 1), SDN_ERROR_INVALID_ARGUMENT, {"sdn_clamp", "exec is NULL"});
}

TEST(NullHandles, Released_AreFine) {
    ok(sdn_device_close(nullptr));
    ok(sdn_exec_destroy(nullptr));
    ok(sdn_weight_destroy(nullptr));
}

}  // namespace sdn::test
