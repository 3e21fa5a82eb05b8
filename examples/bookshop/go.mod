module bookshop

go 1.19
