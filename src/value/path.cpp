#include "dbos/value.hpp"

namespace dbos {
namespace {

// Members that need no quotes in a path.
bool plain_name(std::string_view name) {
    if (name.empty()) return false;
    for (const char c : name) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                            c == '_' || static_cast<unsigned char>(c) >= 0x80U;
        if (!letter) return false;
    }
    return true;
}

}  // namespace

std::string Path::text() const {
    if (parent_ == nullptr) return std::string(name_);
    std::string text = parent_->text();
    if (element_ != static_cast<std::size_t>(-1)) return text + "[" + std::to_string(element_) + "]";
    if (plain_name(name_)) return text + "." + std::string(name_);
    return text + "[\"" + std::string(name_) + "\"]";
}

void fail_decode(const Path& path, std::string_view expected, const Value& found) {
    fail_decode(path, expected, found.describe());
}

void fail_decode(const Path& path, std::string_view expected, std::string found) {
    throw DecodeError(path.text(), std::string(expected), std::move(found));
}

namespace detail {

const Value* find_member(const Object& members, std::string_view name) noexcept {
    for (const auto& [key, value] : members) {
        if (key == name) return &value;
    }
    return nullptr;
}

}  // namespace detail
}  // namespace dbos
