#include <charconv>
#include <stdexcept>
#include <string>
#include <system_error>

#include "sql/connection.hpp"

namespace dbos::sql {

namespace {

[[noreturn]] void not_a_number(std::string_view text) {
    constexpr std::size_t kShown = 40;
    throw DatabaseError(DatabaseErrorKind::other,
                        "a database column holds \"" + std::string(text.substr(0, kShown)) +
                            (text.size() > kShown ? "…" : "") + "\" where a number was expected");
}

}  // namespace

std::int64_t Cell::integer() const {
    std::int64_t number = 0;
    const char* const end = text_.data() + text_.size();
    const auto [stop, error] = std::from_chars(text_.data(), end, number);
    if (error == std::errc() && stop == end) return number;
    const double fraction = real();
    // The bounds are exact doubles; 2^63 itself does not fit.
    if (!(fraction >= -9223372036854775808.0 && fraction < 9223372036854775808.0)) not_a_number(text_);
    return static_cast<std::int64_t>(fraction);
}

double Cell::real() const {
    double number = 0;
    const char* const end = text_.data() + text_.size();
    const auto [stop, error] = std::from_chars(text_.data(), end, number);
    if (error != std::errc() || stop != end || text_.empty()) not_a_number(text_);
    return number;
}

bool Cell::boolean() const { return text_ == "t" || text_ == "true" || text_ == "1"; }

std::size_t Result::column(std::string_view name) const {
    for (std::size_t i = 0; i < columns(); ++i) {
        if (rows_->column_name(i) == name) return i;
    }
    throw std::out_of_range("the result has no column \"" + std::string(name) + "\"");
}

}  // namespace dbos::sql
