# Nomograms, restricted cubic splines and pretty ticks of R, for tests/unit/model.
# Run in this folder: Rscript nomogram.R
suppressMessages({library(rms); library(jsonlite)})

versions <- c(R = as.character(getRversion()), rms = as.character(packageVersion("rms")),
              survival = as.character(packageVersion("survival")),
              Hmisc = as.character(packageVersion("Hmisc")))
save_json <- function(name, value) {
  write_json(c(list(made_by = as.list(versions)), value), name, digits = NA, auto_unbox = TRUE,
             pretty = FALSE)
}

# ---- a cohort with known effects: ties in time, a factor, a bent effect, a negative one -------
set.seed(20)
n <- 150
d <- data.frame(
  subject = sprintf("s%03d", seq_len(n)),
  age = round(rnorm(n, 64, 11)),
  marker = round(rlnorm(n, 1, 0.6), 2),
  haemoglobin = round(rnorm(n, 12.8, 1.7), 1),
  nodes = pmin(rpois(n, 1.6), 6),
  stage = sample(c("I", "II", "III", "IV"), n, TRUE, c(0.25, 0.35, 0.25, 0.15)))
effect <- 0.02 * (d$age - 64) + 0.9 * pmin(d$marker, 4) / 4 - 0.25 * (d$haemoglobin - 12.8) +
  0.15 * d$nodes + c(I = 0, II = 0.3, III = 0.9, IV = 1.5)[d$stage]
death <- rweibull(n, 1.2, 90 * exp(-effect / 1.2))
stop <- runif(n, 20, 110)
d$time_months <- pmax(1, round(pmin(death, stop)))
d$event <- as.integer(death <= stop)
d$response <- rbinom(n, 1, plogis(effect - 0.8))
write.table(d, "nomogram_rows.tsv", sep = "\t", quote = FALSE, row.names = FALSE)
d <- read.delim("nomogram_rows.tsv", stringsAsFactors = TRUE)
dd <- datadist(d[, c("age", "marker", "haemoglobin", "nodes", "stage")])
options(datadist = "dd")

axes <- function(g) {
  # every axis of the object; a probability axis has x (total points) and x.real
  lapply(unclass(g)[names(g)], function(a) {
    if (!is.null(a$points)) list(values = a[[1]], xbeta = a$Xbeta, points = a$points)
    else if (!is.null(a$x.real)) list(total_points = a$x, values = a$x.real)
    else list(total_points = a$x)
  })
}
info <- function(g) attr(g, "info")[c("sc", "Intercept", "lp.at")]

# ---- Cox ---------------------------------------------------------------------------------------
cox <- function(formula) cph(formula, data = d, method = "efron", x = TRUE, y = TRUE, surv = TRUE,
                             eps = 1e-13, iter.max = 100, tol = 1e-14)
months <- c(36, 60)
record <- function(f, ...) {
  s <- Survival(f)
  fun <- lapply(months, function(m) { force(m); function(lp) s(m, lp) })
  g <- nomogram(f, fun = fun, funlabel = paste0("S", months), ...)
  list(names = names(f$coefficients), coefficients = unname(f$coefficients), center = f$center,
       months = months, baseline = sapply(months, function(m) s(m, 0)),
       lp = unname(range(f$linear.predictors)), knots = unname(f$Design$parms$marker),
       axes = axes(g), info = info(g))
}
full <- cox(Surv(time_months, event) ~ age + rcs(marker, 4) + haemoglobin + nodes + stage)
one <- cox(Surv(time_months, event) ~ haemoglobin)
# total points to survival, away from the ticks
s <- Survival(full)
lp <- seq(-2, 2, length.out = 9)
# intervals of predicted survival, by the survival package on the same design matrix
new <- c(1, 7, 40, 111, 150)
X <- full$x
plain <- coxph(Surv(d$time_months, d$event) ~ X, control = coxph.control(eps = 1e-14,
               toler.chol = 1e-15, iter.max = 100))
sf <- summary(survfit(plain, newdata = list(X = X[new, ]), conf.type = "log-log"), times = months)
save_json("nomogram_cox.json", list(
  full = record(full),
  asked = record(full, age = seq(40, 80, 10), marker = c(1, 2.5, 4, 8),
                 fun.at = list(c(0.95, 0.8, 0.5, 0.2), c(0.9, 0.5, 0.1))),
  single = record(one),
  interval = list(subjects = d$subject[new], at = lapply(seq_along(months), function(i) list(
    survival = sf$surv[i, ], low = sf$lower[i, ], high = sf$upper[i, ]))),
  lp = lp, survival = lapply(months, function(m) s(m, lp))))

# ---- logistic ----------------------------------------------------------------------------------
f <- lrm(response ~ age + haemoglobin + stage, data = d, eps = 1e-12, maxit = 100, tol = 1e-14,
         x = TRUE, y = TRUE)
g <- nomogram(f, fun = plogis, funlabel = "risk")
h <- glm(response ~ age + haemoglobin + stage, binomial, d,
         control = glm.control(epsilon = 1e-15, maxit = 100))
save_json("nomogram_logistic.json", list(
  names = names(f$coefficients), coefficients = unname(f$coefficients),
  glm = unname(coef(h)), covariance = unname(vcov(h)), loglik = as.numeric(logLik(h)),
  loglik_null = -h$null.deviance / 2, lp = unname(range(f$linear.predictors)),
  axes = axes(g), info = info(g), glm_probability = unname(fitted(h))[1:10],
  glm_se = unname(predict(h, se.fit = TRUE)$se.fit)[1:10]))

# ---- splines -----------------------------------------------------------------------------------
tied <- c(rep(0, 20), d$marker[1:100])        # an end value shared by a sixth
both <- c(rep(0, 20), d$marker[1:100], rep(30, 20))
coarse <- rep(1:5, c(4, 9, 12, 9, 4))         # few different values
crowded <- c(-1.3, rep(0, 38), d$marker[1:30])  # an inner value shared by half
sets <- list(all = d$marker, few = d$marker[1:60], tied = tied, both = both, nodes = d$nodes,
             coarse = coarse, crowded = crowded)
splines <- list()
for (name in names(sets)) for (nk in 3:7) {
  x <- sets[[name]]
  knots <- tryCatch(suppressWarnings(rcspline.eval(x, nk = nk, knots.only = TRUE)),
                    error = function(e) NULL)
  splines[[length(splines) + 1]] <- list(
    name = name, n_knots = nk, knots = if (is.null(knots)) list() else as.list(unname(knots)))
}
grid <- c(0.3, 1, 2.2, 3.7, 6.1, 12)
basis <- lapply(3:5, function(nk) {
  b <- rcspline.eval(grid, knots = rcspline.eval(d$marker, nk = nk, knots.only = TRUE),
                     inclx = TRUE)
  list(n_knots = nk, columns = lapply(seq_len(ncol(b)), function(j) b[, j]))
})
save_json("nomogram_splines.json",
          list(sets = sets, knots = splines, grid = grid, basis = basis))

# ---- pretty ------------------------------------------------------------------------------------
set.seed(3)
rows <- list()
for (i in 1:120) {
  low <- signif(rnorm(1) * 10^runif(1, -3, 4), 4)
  high <- low + signif(10^runif(1, -3, 4), 3)
  count <- sample(c(5, 10), 1)
  rows[[i]] <- data.frame(low, high, count, ticks = paste(format(pretty(c(low, high), count),
    digits = 15, trim = TRUE), collapse = ","))
}
cases <- list(c(0, 100), c(0, 1), c(0.3, 0.3), c(0, 0), c(-1, 1), c(5, 5.0000001), c(0, 143.7),
              c(-250, 0), c(1e-5, 2e-5), c(99.999, 100.001))
for (k in cases) for (count in c(5, 10)) {
  rows[[length(rows) + 1]] <- data.frame(low = k[1], high = k[2], count = count, ticks = paste(
    format(pretty(k, count), digits = 15, trim = TRUE), collapse = ","))
}
table <- do.call(rbind, rows)
con <- file("nomogram_pretty.tsv", "w")
writeLines(sprintf("# R %s: pretty(c(low, high), count)", versions["R"]), con)
table$low <- format(table$low, digits = 15, trim = TRUE)
table$high <- format(table$high, digits = 15, trim = TRUE)
write.table(table, con, sep = "\t", quote = FALSE, row.names = FALSE)
close(con)
