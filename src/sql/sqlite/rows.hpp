// Parameters into a prepared statement of SQLite, and rows out of it.
#pragma once

#include <sqlite3.h>

#include <cstddef>
#include <deque>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "sql/connection.hpp"
#include "sql/text.hpp"

namespace dbos::sql::sqlite {

/// Rows copied into one buffer: the statement is free for its next execution at once.
class SqliteRows final : public Result::Rows {
   public:
    explicit SqliteRows(sqlite3_stmt* statement) {
        const int columns = sqlite3_column_count(statement);
        for (int i = 0; i < columns; ++i) names_.emplace_back(sqlite3_column_name(statement, i));
    }
    void append(sqlite3_stmt* statement) {
        for (int i = 0; i < static_cast<int>(names_.size()); ++i) {
            const bool null = sqlite3_column_type(statement, i) == SQLITE_NULL;
            cells_.push_back({bytes_.size(), 0, null});
            if (null) continue;
            const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, i));
            const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, i));
            if (text == nullptr && size > 0) throw std::bad_alloc();
            if (text != nullptr) bytes_.append(text, size);
            cells_.back().size = size;
        }
        ++rows_;
    }
    std::size_t rows() const noexcept override { return rows_; }
    std::size_t columns() const noexcept override { return names_.size(); }
    Cell cell(std::size_t row, std::size_t column) const override {
        const Slot& slot = cells_[row * names_.size() + column];
        return slot.null ? Cell() : Cell(std::string_view(bytes_).substr(slot.start, slot.size));
    }
    std::string_view column_name(std::size_t column) const override { return names_[column]; }

   private:
    struct Slot {
        std::size_t start;
        std::size_t size;
        bool null;
    };
    std::vector<std::string> names_;
    std::vector<Slot> cells_;
    std::string bytes_;
    std::size_t rows_ = 0;
};

/// Binds texts as views of the caller's, arrays as JSON in `arena`. A result code of SQLite.
inline int bind_params(sqlite3_stmt* statement, const Params& params, std::deque<std::string>& arena) {
    arena.clear();
    int code = SQLITE_OK;
    const auto text = [statement](int index, std::string_view value) {
        return sqlite3_bind_text64(statement, index, value.data() != nullptr ? value.data() : "",
                                   value.size(), SQLITE_STATIC, SQLITE_UTF8);
    };
    const auto json = [&arena, &text](int index, const auto& array) {
        append_json(arena.emplace_back(), array);
        return text(index, arena.back());
    };
    for (std::size_t i = 0; i < params.size() && code == SQLITE_OK; ++i) {
        const int index = static_cast<int>(i) + 1;
        code = std::visit(
            [&](const auto& value) {
                using T = std::decay_t<decltype(value)>;
                if constexpr (std::is_same_v<T, std::monostate>)
                    return sqlite3_bind_null(statement, index);
                else if constexpr (std::is_same_v<T, bool>)
                    return sqlite3_bind_int(statement, index, value ? 1 : 0);
                else if constexpr (std::is_same_v<T, std::int64_t>)
                    return sqlite3_bind_int64(statement, index, value);
                else if constexpr (std::is_same_v<T, double>)
                    return sqlite3_bind_double(statement, index, value);
                else if constexpr (std::is_same_v<T, std::string_view>)
                    return text(index, value);
                else
                    return json(index, value);
            },
            params[i]);
    }
    return code;
}

}  // namespace dbos::sql::sqlite
