#include "sql/postgres/params.hpp"

#include <bit>
#include <climits>

namespace dbos::sql::postgres {

namespace {

// pg_type.dat of PostgreSQL; stable since their introduction.
constexpr Oid kBool = 16;
constexpr Oid kInt8 = 20;
constexpr Oid kText = 25;
constexpr Oid kFloat8 = 701;
constexpr Oid kBoolArray = 1000;
constexpr Oid kTextArray = 1009;
constexpr Oid kInt8Array = 1016;

}  // namespace

void EncodedParams::append_u32(std::uint32_t number) {
    for (int shift = 24; shift >= 0; shift -= 8) arena_ += static_cast<char>(number >> shift & 0xff);
}

void EncodedParams::append_u64(std::uint64_t number) {
    for (int shift = 56; shift >= 0; shift -= 8) arena_ += static_cast<char>(number >> shift & 0xff);
}

void EncodedParams::add(Oid type, const char* value, std::size_t length) {
    if (length > INT_MAX) throw UsageError("a parameter of more than 2 GiB cannot be sent to PostgreSQL");
    types.push_back(type);
    values.push_back(value);
    lengths.push_back(static_cast<int>(length));
    formats.push_back(1);
    offsets_.push_back(-1);
}

void EncodedParams::add_arena(Oid type, std::size_t start) {
    add(type, nullptr, arena_.size() - start);
    offsets_.back() = static_cast<std::ptrdiff_t>(start);
}

/// array_recv of PostgreSQL: dimensions, whether there are NULLs, element type, then length and lower bound, then elements.
template <class Array, class Append>
void EncodedParams::add_array(Oid type, Oid element, const Array& array, Append append) {
    const std::size_t start = arena_.size();
    bool nulls = false;
    for (const auto& value : array) nulls = nulls || !value;
    append_u32(array.empty() ? 0 : 1);
    append_u32(nulls ? 1 : 0);
    append_u32(element);
    if (!array.empty()) {
        append_u32(static_cast<std::uint32_t>(array.size()));
        append_u32(1);
    }
    for (const auto& value : array) {
        if (value) {
            append(*value);
        } else {
            append_u32(UINT32_MAX);
        }
    }
    add_arena(type, start);
}

void EncodedParams::encode(const Params& params) {
    types.clear();
    values.clear();
    lengths.clear();
    formats.clear();
    offsets_.clear();
    arena_.clear();
    struct Visitor {
        EncodedParams& out;
        void operator()(std::monostate) const { out.add(0, nullptr, 0); }
        void operator()(bool value) const {
            const std::size_t start = out.arena_.size();
            out.arena_ += static_cast<char>(value ? 1 : 0);
            out.add_arena(kBool, start);
        }
        void operator()(std::int64_t value) const {
            const std::size_t start = out.arena_.size();
            out.append_u64(static_cast<std::uint64_t>(value));
            out.add_arena(kInt8, start);
        }
        void operator()(double value) const {
            const std::size_t start = out.arena_.size();
            out.append_u64(std::bit_cast<std::uint64_t>(value));
            out.add_arena(kFloat8, start);
        }
        void operator()(std::string_view value) const {
            out.add(kText, value.data() != nullptr ? value.data() : "", value.size());
        }
        void operator()(const TextArray& array) const {
            out.add_array(kTextArray, kText, array, [this](std::string_view value) {
                if (value.size() > INT_MAX)
                    throw UsageError("an array element of more than 2 GiB cannot be sent");
                out.append_u32(static_cast<std::uint32_t>(value.size()));
                out.arena_ += value;
            });
        }
        void operator()(const IntArray& array) const {
            out.add_array(kInt8Array, kInt8, array, [this](std::int64_t value) {
                out.append_u32(8);
                out.append_u64(static_cast<std::uint64_t>(value));
            });
        }
        void operator()(const BoolArray& array) const {
            out.add_array(kBoolArray, kBool, array, [this](bool value) {
                out.append_u32(1);
                out.arena_ += static_cast<char>(value ? 1 : 0);
            });
        }
    };
    for (const auto& param : params) std::visit(Visitor{*this}, param);
    for (std::size_t i = 0; i < offsets_.size(); ++i) {
        if (offsets_[i] >= 0) values[i] = arena_.data() + offsets_[i];
    }
}

}  // namespace dbos::sql::postgres
