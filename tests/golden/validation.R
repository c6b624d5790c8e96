# Makes validation_rows.tsv, validation_values.tsv, validation_groups.tsv, validation_resamples.tsv
# and validation_binary.tsv. Run in this folder: Rscript validation.R
# The first line of each names the versions of R and of the packages.
suppressMessages({
  library(survival); library(rms); library(pec); library(riskRegression)
})
digits <- function(x) ifelse(is.na(x), "", ifelse(is.infinite(x), "inf", sprintf("%.15g", x)))
versions <- sapply(c("survival", "rms", "Hmisc", "pec", "riskRegression"),
                   function(p) paste(p, packageVersion(p)))
write <- function(frame, name) {
  writeLines(paste("#", R.version.string, paste(versions, collapse = ", ")), name)
  suppressWarnings(write.table(frame, name, sep = "\t", quote = FALSE, row.names = FALSE, na = "",
                               append = TRUE))
}
values <- NULL
keep <- function(.case, ...) {
  found <- c(...)
  values <<- rbind(values, data.frame(case = .case, item = names(found), value = digits(unname(found))))
}
tight <- coxph.control(eps = 1e-13, toler.chol = 1e-14, iter.max = 50)

# --- rows: 120 to develop, 90 to test; whole months, so events and censorings tie -----------
set.seed(2017)
n <- 210
split <- rep(c("development", "test"), c(120, 90))
x1 <- round(rnorm(n), 2)
x2 <- round(runif(n, -1, 1), 2)
hidden <- rnorm(n, sd = 0.5)
death <- rexp(n, 0.02 * exp(0.8 * x1 - 0.7 * x2 + hidden))
leave <- runif(n, 6, 80)
months <- pmax(round(pmin(death, leave)), 1)
event <- as.integer(death <= leave)
rows <- data.frame(subject = sprintf("s%03d", 1:n), split, months, event, x1, x2)
rows$other <- round(x1 + rnorm(n), 1)
development <- rows[split == "development", ]
test <- rows[split == "test", ]
fit <- coxph(Surv(months, event) ~ x1 + x2, development, control = tight)
horizons <- c(12, 24, 36)
lp <- as.vector(as.matrix(rows[, c("x1", "x2")]) %*% coef(fit))
rows$risk <- round(lp, 1)
base <- survfit(fit, newdata = data.frame(x1 = 0, x2 = 0), censor = FALSE)
s0 <- summary(base, times = horizons)$surv
for (k in seq_along(horizons)) rows[[paste0("survival_", horizons[k])]] <- s0[k]^exp(lp)
rows$lp <- lp
development <- rows[split == "development", ]
test <- rows[split == "test", ]
S <- with(test, Surv(months, event))
out <- rows
for (name in names(out)) if (is.double(out[[name]])) out[[name]] <- digits(out[[name]])
write(out, "validation_rows.tsv")
shares <- as.matrix(test[, paste0("survival_", horizons)])

# --- concordance -------------------------------------------------------------------------------
for (marker in c("risk", "other")) {
  found <- concordance(S ~ test[[marker]], reverse = TRUE)
  keep(paste0("harrell_", marker), c = unname(found$concordance), se = sqrt(unname(found$var)),
       concordant = unname(found$count["concordant"]), discordant = unname(found$count["discordant"]),
       tied_risk = unname(found$count["tied.x"]))
  for (tau in c(24.5, 48.5)) {
    found <- concordance(S ~ test[[marker]], reverse = TRUE, timewt = "n/G2", ymax = tau)
    keep(sprintf("uno_%s_%g", marker, tau), c = unname(found$concordance),
         se = sqrt(unname(found$var)))
  }
}
one <- coxph(S ~ risk, test)
two <- coxph(S ~ other, test)
stopifnot(coef(one) > 0, coef(two) > 0)
pair <- concordance(one, two)
change <- c(1, -1)
keep("compare", first = unname(pair$concordance[1]), second = unname(pair$concordance[2]),
     se = sqrt(drop(change %*% vcov(pair) %*% change)))

# --- AUC and Brier score by inverse probability of censoring -----------------------------------
score <- Score(list(risk = test$risk, other = test$other), Surv(months, event) ~ 1, test,
               times = horizons, metrics = "auc", cens.model = "km", conf.int = FALSE,
               null.model = FALSE)
for (i in seq_len(nrow(score$AUC$score))) {
  line <- score$AUC$score[i, ]
  keep(sprintf("auc_%s_%g", line$model, line$times), auc = as.numeric(line$AUC))
}
accuracy <- Score(list(model = 1 - shares), Surv(months, event) ~ 1, test, times = horizons,
                  metrics = "brier", summary = "ipa", cens.model = "km", conf.int = FALSE)
accuracy <- as.data.frame(accuracy$Brier$score)
for (t in horizons) {
  line <- accuracy[accuracy$model == "model" & accuracy$times == t, ]
  keep(sprintf("ipa_%g", t), brier = line$Brier, ipa = line$IPA)
}
times <- 1:48
grid <- outer(lp[split == "test"], times, function(l, t) {
  cumulative <- -log(summary(base, times = unique(t), extend = TRUE)$surv)
  exp(-exp(l) * cumulative[match(t, unique(t))])
})
errors <- pec(list(model = cbind(1, grid)), Surv(months, event) ~ 1, test, times = c(0, times),
              exact = FALSE, cens.model = "marginal", splitMethod = "none", verbose = FALSE)
for (t in horizons) {
  keep(sprintf("brier_%g", t), model = errors$AppErr$model[t + 1],
       reference = errors$AppErr$Reference[t + 1])
}
for (t in times) keep("brier_curve", setNames(errors$AppErr$model[t + 1], sprintf("%g", t)))
keep("brier_base", setNames(-log(summary(base, times = times, extend = TRUE)$surv),
                            sprintf("%g", times)))

# --- calibration: groups, smooth, slope --------------------------------------------------------
units(S) <- "Month"
groups <- NULL
group <- function(case, x, u, ...) {
  found <- groupkm(x, S, u = u, ...)
  z <- qnorm(0.975)
  low <- ifelse(found[, "KM"] == 0, 0, found[, "KM"] * exp(-z * found[, "std.err"]))
  high <- ifelse(found[, "KM"] == 0, 0, pmin(1, found[, "KM"] * exp(z * found[, "std.err"])))
  groups <<- rbind(groups, data.frame(
    case, group = seq_len(nrow(found)), n = found[, "n"], events = found[, "events"],
    predicted = digits(found[, "x"]), observed = digits(found[, "KM"]),
    se = digits(found[, "std.err"]), low95 = digits(low), high95 = digits(high)))
}
for (t in horizons) group(sprintf("g4_%g", t), test[[paste0("survival_", t)]], t, g = 4)
group("g3_rounded_24", round(test$survival_24, 1), 24, g = 3)
group("m20_24", test$survival_24, 24, m = 20)
group("cuts_24", test$survival_24, 24, cuts = c(0, 0.3, 0.5, 0.7, 0.9, 1))
group("cuts_inside_24", round(test$survival_24, 1), 24, cuts = c(0.4, 0.6))
group("late_60", test$survival_36, 60, g = 6)
for (t in horizons) for (knots in 3:5) {
  predicted <- test[[paste0("survival_", t)]]
  data <- data.frame(S, cll = log(-log(predicted)))
  spline <- rcspline.eval(data$cll, nk = knots, inclx = TRUE)
  smooth <- coxph(S ~ spline, control = tight)
  curve <- survfit(smooth, newdata = list(spline = spline))
  seen <- as.vector(summary(curve, times = t)$surv)
  gap <- abs(seen - predicted)
  keep(sprintf("smooth_%g_%d", t, knots), ici = mean(gap), e50 = median(gap),
       e90 = unname(quantile(gap, 0.9)), emax = max(gap), first = seen[1], last = seen[90])
}
slope <- coxph(S ~ lp, test, control = tight)
keep("slope", slope = unname(coef(slope)), se = sqrt(vcov(slope)[1, 1]))
for (t in horizons) {
  seen <- summary(survfit(S ~ 1), times = t)$surv
  keep(sprintf("ratio_%g", t), ratio = (1 - seen) / mean(1 - test[[paste0("survival_", t)]]))
}

# --- optimism: the very resamples that rms draws ------------------------------------------------
draws <- 20
dd <- datadist(development)
options(datadist = "dd")
units(development$months) <- "Month"
model <- cph(Surv(months, event) ~ x1 + x2, development, x = TRUE, y = TRUE, surv = TRUE,
             time.inc = 24, eps = 1e-12)
set.seed(24)
drawn <- sapply(seq_len(draws), function(i) sample(120, replace = TRUE))
write(data.frame(drawn - 1L), "validation_resamples.tsv")
set.seed(24)
invisible(capture.output(checked <- validate(model, B = draws, dxy = TRUE)))
for (item in c("Dxy", "Slope")) {
  keep(paste0("validate_", tolower(item)), apparent = checked[item, "index.orig"],
       training = checked[item, "training"], test = checked[item, "test"],
       optimism = checked[item, "optimism"], corrected = checked[item, "index.corrected"],
       n = checked[item, "n"])
}
by_hand <- sapply(seq_len(draws), function(i) {
  again <- coxph(Surv(months, event) ~ x1 + x2, development[drawn[, i], ], control = tight)
  score <- as.matrix(development[, c("x1", "x2")]) %*% coef(again)
  whole <- with(development, Surv(months, event))
  dxy <- function(y, x) 2 * concordance(y ~ x, reverse = TRUE)$concordance - 1
  c(training = unname(dxy(whole[drawn[, i]], score[drawn[, i]])), test = unname(dxy(whole, score)),
    slope = unname(coef(coxph(whole ~ score, control = tight))))
})
keep("hand", training = mean(by_hand["training", ]), test = mean(by_hand["test", ]),
     slope = mean(by_hand["slope", ]))
cuts <- c(0, 0.4, 0.6, 0.75, 1)
set.seed(24)
invisible(capture.output(
  corrected <- calibrate(model, cmethod = "KM", u = 24, cuts = cuts, B = draws)))
groups <- rbind(groups, data.frame(
  case = "calibrate_24", group = seq_len(nrow(corrected)), n = corrected[, "n"], events = "",
  predicted = digits(corrected[, "mean.predicted"]), observed = digits(corrected[, "KM"]),
  se = digits(corrected[, "std.err"]), low95 = digits(corrected[, "mean.optimism"]),
  high95 = digits(corrected[, "KM.corrected"])))
# the same with models fitted to the last digit, where calibrate() stops at 1e-4
gap_of <- function(again, drawn) {
  at <- summary(survfit(again, newdata = data.frame(x1 = 0, x2 = 0)), times = 24)$surv
  data <- development[drawn, ]
  x <- at^exp(as.vector(as.matrix(data[, c("x1", "x2")]) %*% coef(again)))
  found <- groupkm(x, with(data, Surv(months, event)), u = 24, cuts = cuts)
  found[, "KM"] - found[, "x"]
}
by_hand <- sapply(seq_len(draws), function(i) {
  again <- coxph(Surv(months, event) ~ x1 + x2, development[drawn[, i], ], control = tight)
  gap_of(again, drawn[, i]) - gap_of(again, 1:120)
})
keep("calibrate", setNames(rowMeans(by_hand), sprintf("%d", 1:4)))
write(groups, "validation_groups.tsv")

# --- decision curve at 24 months ----------------------------------------------------------------
danger <- 1 - test$survival_24
for (threshold in c(0.1, 0.2, 0.35, 0.5)) {
  above <- danger >= threshold
  death <- 1 - summary(survfit(S[above] ~ 1), times = 24)$surv
  odds <- threshold / (1 - threshold)
  all <- 1 - summary(survfit(S ~ 1), times = 24)$surv
  keep(sprintf("decision_%g", threshold), model = mean(above) * (death - (1 - death) * odds),
       all = all - (1 - all) * odds)
}

# --- binary: 150 rows ---------------------------------------------------------------------------
set.seed(5)
score <- rnorm(150)
y <- rbinom(150, 1, plogis(-0.4 + 0.8 * score + 0.4 * score^2))
p <- plogis(round(-0.1 + 1.1 * score, 3))
write(data.frame(subject = sprintf("b%03d", 1:150), response = y, probability = digits(p)),
      "validation_binary.tsv")
stats <- val.prob(p, y, pl = FALSE)
again <- glm(y ~ qlogis(p), binomial, control = glm.control(epsilon = 1e-14, maxit = 50))
offset <- glm(y ~ offset(qlogis(p)), binomial, control = glm.control(epsilon = 1e-14, maxit = 50))
keep("val_prob", c = unname(stats["C (ROC)"]), brier = unname(stats["Brier"]),
     intercept = unname(stats["Intercept"]), slope = unname(stats["Slope"]),
     glm_intercept = unname(coef(again)[1]), glm_slope = unname(coef(again)[2]),
     slope_se = sqrt(vcov(again)[2, 2]), intercept_se = sqrt(vcov(again)[1, 1]),
     in_the_large = unname(coef(offset)), in_the_large_se = sqrt(vcov(offset)[1, 1]))
for (knots in 3:5) {
  smooth <- glm(y ~ rcspline.eval(qlogis(p), nk = knots, inclx = TRUE), binomial,
                control = glm.control(epsilon = 1e-14, maxit = 50))
  gap <- abs(fitted(smooth) - p)
  keep(sprintf("binary_smooth_%d", knots), ici = mean(gap), e50 = median(gap),
       e90 = unname(quantile(gap, 0.9)), emax = max(gap))
}
write(values, "validation_values.tsv")
