#include "core/error.h"

#include <cstdarg>
#include <cstdio>
#include <new>

namespace sdn {

namespace {

constexpr int kTextBytes = 1024;
thread_local char last_error_text[kTextBytes] = "";  // trivially destructible, so that no thread keeps the library from unloading

}  // namespace

void fail(sdn_status status, const char* format, ...) {
    char text[kTextBytes];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    throw Error(status, text);
}

void set_last_error(const char* function, const char* text) noexcept {
    std::snprintf(last_error_text, sizeof last_error_text, "%s: %s", function, text);
}

const char* last_error() noexcept {
    return last_error_text;
}

sdn_status report_exception(const char* function) noexcept {
    try {
        throw;
    } catch (const Error& error) {
        set_last_error(function, error.what());
        return error.status();
    } catch (const std::bad_alloc&) {
        set_last_error(function, "the system has no memory left for a bookkeeping structure");
        return SDN_ERROR_OUT_OF_MEMORY;
    } catch (const std::exception& error) {
        set_last_error(function, error.what());
        return SDN_ERROR_INTERNAL;
    } catch (...) {
        set_last_error(function, "unknown exception");
        return SDN_ERROR_INTERNAL;
    }
}

}  // namespace sdn
