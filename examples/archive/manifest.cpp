#include "manifest.hpp"

#include <random>

#include "files.hpp"

namespace archive {

std::string to_text(const Manifest& manifest) {
    const auto json = dbos::serializers::portable_json();
    std::string text = "{\"format\":" + std::to_string(manifest.format) +
                       ",\n\"root\":" + json->encode(dbos::to_value(manifest.root)) + ",\n\"files\":[";
    const char* separator = "\n";
    for (const FileResult& file : manifest.files) {
        text += separator + json->encode(dbos::to_value(file));
        separator = ",\n";
    }
    return text + "\n]}\n";
}

Manifest manifest_from(const std::string& text) {
    return dbos::from_value<Manifest>(dbos::serializers::portable_json()->decode(text));
}

std::string random_hex(int digits) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::random_device device;
    std::uniform_int_distribution<std::size_t> pick(0, 15);
    std::string text;
    for (int i = 0; i < digits; ++i) text += kDigits[pick(device)];
    return text;
}

std::filesystem::path unique_temporary(const std::filesystem::path& out, const std::string& purpose) {
    return temporary_directory(out) / (purpose + '.' + random_hex(16));
}

}  // namespace archive
