#include "shop.hpp"

#include <string>

namespace shop {

namespace {

constexpr const char* kOrderColumns = "order_id, order_status, last_update_time, progress_remaining";

web::Json to_json(const std::vector<std::string>& row) {
    std::string time = row[2];  // "2026-03-01 12:00:00", in UTC
    if (const auto blank = time.find(' '); blank != std::string::npos) time[blank] = 'T';
    return {{"order_id", std::stoi(row[0])},
            {"order_status", std::stoi(row[1])},
            {"last_update_time", time},
            {"progress_remaining", std::stoi(row[3])}};
}

int number(OrderStatus status) { return static_cast<int>(status); }

}  // namespace

void create_tables(web::Sql& sql) {
    sql("CREATE TABLE IF NOT EXISTS products (product_id INTEGER PRIMARY KEY, product VARCHAR(255) NOT NULL "
        "UNIQUE,"
        " description TEXT NOT NULL, inventory INTEGER NOT NULL, price DECIMAL(10,2) NOT NULL)");
    sql("INSERT INTO products VALUES (1, 'Widget', 'Does what widgets do, and survives a crash.', 100, 99.99)"
        " ON CONFLICT DO NOTHING");
    const std::string key = sql.sqlite() ? "INTEGER PRIMARY KEY" : "SERIAL PRIMARY KEY";
    sql(("CREATE TABLE IF NOT EXISTS orders (order_id " + key +
         ", order_status INTEGER NOT NULL, last_update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,"
         " progress_remaining INTEGER NOT NULL DEFAULT 10)")
            .c_str());
}

int create_order(web::Sql& sql) {
    return std::stoi(
        sql("INSERT INTO orders (order_status) VALUES ($1) RETURNING order_id", number(OrderStatus::pending))
            .at(0)
            .at(0));
}

void set_order_status(web::Sql& sql, int order_id, OrderStatus status) {
    sql("UPDATE orders SET order_status = $1, last_update_time = CURRENT_TIMESTAMP WHERE order_id = $2",
        number(status), order_id);
}

bool reserve_inventory(web::Sql& sql) {
    return !sql("UPDATE products SET inventory = inventory - 1 WHERE product_id = 1 AND inventory > 0"
                " RETURNING inventory")
                .empty();
}

void undo_reserve_inventory(web::Sql& sql) {
    sql("UPDATE products SET inventory = inventory + 1 WHERE product_id = 1");
}

void restock(web::Sql& sql) { sql("UPDATE products SET inventory = 100"); }

void advance_order(web::Sql& sql, int order_id) {
    const auto left =
        sql("UPDATE orders SET progress_remaining = progress_remaining - 1,"
            " last_update_time = CURRENT_TIMESTAMP WHERE order_id = $1 RETURNING progress_remaining",
            order_id);
    if (left.at(0).at(0) == "0") set_order_status(sql, order_id, OrderStatus::dispatched);
}

web::Json product(web::Sql& sql) {
    const auto row =
        sql("SELECT product_id, product, description, inventory, price FROM products WHERE product_id = 1")
            .at(0);
    return {{"product_id", std::stoi(row[0])},
            {"product", row[1]},
            {"description", row[2]},
            {"inventory", std::stoi(row[3])},
            {"price", std::stod(row[4])}};
}

web::Json orders(web::Sql& sql) {
    web::Json all = web::Json::array();
    const std::string statement = std::string("SELECT ") + kOrderColumns + " FROM orders ORDER BY order_id";
    for (const auto& row : sql(statement.c_str())) all.push_back(to_json(row));
    return all;
}

web::Json order(web::Sql& sql, int order_id) {
    const std::string statement = std::string("SELECT ") + kOrderColumns + " FROM orders WHERE order_id = $1";
    const auto rows = sql(statement.c_str(), order_id);
    return rows.empty() ? web::Json() : to_json(rows[0]);
}

}  // namespace shop
