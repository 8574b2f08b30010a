#include "codec/portable_json.hpp"
#include "dbos/serializer.hpp"
#include "value/json.hpp"

namespace dbos {

Serializer::~Serializer() = default;

const Serializer* find_serializer(std::string_view name) noexcept {
    static const PortableJson portable;
    const Serializer* const known[] = {&portable};
    for (const Serializer* serializer : known) {
        if (serializer->name() == name) return serializer;
    }
    return nullptr;
}

Failure read_failure(std::string_view text, const Serializer* format) {
    Failure failure;
    try {
        if (format != nullptr) return format->decode_error(text);
    } catch (const DecodeError&) {
        // TypeScript and Go write errors that do not match the column: judged by their shape below.
    }
    try {
        const Value record = parse_json(text, {.nonfinite = true});
        // Only what says that it is an error: any other JSON text may as well be a message.
        const bool shaped = record.find("name") != nullptr || record.find("message") != nullptr;
        if (auto portable = portable_failure(record); portable && shaped) {
            portable->raw = std::string(text);
            portable->format = "portable_json";
            return std::move(*portable);
        }
    } catch (const DecodeError&) {
        // Plain text.
    }
    failure.type_name = "error";
    failure.message = std::string(text);
    failure.raw = std::string(text);
    return failure;
}

}  // namespace dbos
